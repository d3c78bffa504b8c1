"""The lower bound of a bounded mean: known figures, its promise under repeated looking, its behaviour."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkrein.judge.bounded_mean import FRACTIONS, lower_bound, spent_alpha

ALPHA = spent_alpha(0.05, 1)
RETURNS = st.lists(st.floats(0, 500), min_size=1, max_size=60)


def nearly_solved(episodes: int) -> list[float]:
    """Returns with mean 498: one episode in ten falls at 480."""
    return [480.0 if i % 10 == 0 else 500.0 for i in range(episodes)]


@pytest.mark.parametrize(
    ("returns", "bound", "within"),
    [
        pytest.param([500.0] * 100, 473.6, 0.1, id="even 500 throughout shows no more than 473.6 after 100 episodes"),
        pytest.param(nearly_solved(100), 471, 1, id="a mean of 498 shows 471 after 100 episodes"),
        pytest.param(nearly_solved(200), 484, 1, id="a mean of 498 shows 484 after 200 episodes"),
        pytest.param(nearly_solved(300), 489, 1, id="a mean of 498 shows 489 after 300 episodes"),
    ],
)
def test_known_figures(returns: list[float], bound: float, within: float) -> None:
    assert lower_bound(returns, 0, 500, ALPHA) == pytest.approx(bound, abs=within)


def test_one_perfect_episode_by_hand() -> None:
    """Wealth 1 + f (1/m - 1), averaged over the bets f, reaches 1/alpha at this m."""
    by_hand = 1 / (1 + (1 / 0.05 - 1) / np.mean(FRACTIONS))
    assert lower_bound([1.0], 0, 1, 0.05) == pytest.approx(by_hand, rel=1e-9)


@pytest.mark.parametrize(
    ("draw", "mean"),
    [
        pytest.param(lambda rng, shape: rng.integers(0, 2, shape).astype(float), 0.5, id="coins"),
        pytest.param(lambda rng, shape: (rng.random(shape) < 0.95).astype(float), 0.95, id="rare ruin"),
        pytest.param(lambda rng, shape: rng.beta(2, 5, shape), 2 / 7, id="skewed"),
        pytest.param(lambda rng, shape: rng.uniform(0.4, 0.6, shape), 0.5, id="narrow"),
    ],
)
def test_looking_again_and_again_errs_no_more_often_than_alpha(draw, mean) -> None:  # type: ignore[no-untyped-def]
    """1,000 runs, looked at four times each: 5 % may err, plus three standard errors of that share."""
    runs, looks = 1000, (5, 20, 60, 150)
    values = draw(np.random.default_rng(20240217), (runs, max(looks)))
    above = [any(lower_bound(run[:n], 0, 1, 0.05) > mean for n in looks) for run in values]
    assert np.mean(above) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def test_the_bound_comes_close_to_the_mean() -> None:
    """A bound that is always low would be valid too."""
    values = np.random.default_rng(7).beta(8, 2, 2000)
    assert 0.78 < lower_bound(values.tolist(), 0, 1, 0.05) < 0.8


@given(RETURNS)
def test_it_lies_between_the_lower_limit_and_the_sample_mean(returns: list[float]) -> None:
    assert 0 <= lower_bound(returns, 0, 500, ALPHA) <= np.mean(returns) + 1e-9


@given(RETURNS, st.integers(0, 59), st.floats(0, 500))
def test_a_better_episode_never_lowers_it(returns: list[float], at: int, better: float) -> None:
    at %= len(returns)
    raised = [*returns[:at], max(returns[at], better), *returns[at + 1 :]]
    assert lower_bound(raised, 0, 500, ALPHA) >= lower_bound(returns, 0, 500, ALPHA)


@given(RETURNS, st.floats(0.001, 0.5), st.floats(0.001, 0.5))
def test_more_confidence_never_raises_it(returns: list[float], one: float, other: float) -> None:
    strict, loose = sorted((one, other))
    assert lower_bound(returns, 0, 500, strict) <= lower_bound(returns, 0, 500, loose)


@given(RETURNS, st.randoms(use_true_random=False))
def test_the_order_of_episodes_does_not_matter(returns: list[float], random) -> None:  # type: ignore[no-untyped-def]
    shuffled = random.sample(returns, len(returns))
    assert lower_bound(shuffled, 0, 500, ALPHA) == pytest.approx(lower_bound(returns, 0, 500, ALPHA), abs=1e-6)


@given(RETURNS, st.floats(-1000, 1000), st.floats(0.01, 100))
def test_other_units_give_the_same_bound_in_those_units(returns: list[float], shift: float, scale: float) -> None:
    low, high = shift, shift + 500 * scale
    moved = [min(max(shift + scale * r, low), high) for r in returns]
    expected = shift + scale * lower_bound(returns, 0, 500, ALPHA)
    assert lower_bound(moved, low, high, ALPHA) == pytest.approx(expected, abs=1e-6 * max(1, 500 * scale))


@pytest.mark.parametrize(
    "values", [pytest.param([], id="no episodes"), pytest.param([-5.0, -5.0], id="only worst episodes")]
)
def test_nothing_shown_is_the_lower_limit(values: list[float]) -> None:
    assert lower_bound(values, -5, 5, 0.05) == -5


@pytest.mark.parametrize(
    ("values", "low", "high", "alpha", "words"),
    [
        pytest.param([1, 501], 0, 500, 0.05, r"values\[1\] is 501\.0, outside the bounds \[0, 500\]", id="above"),
        pytest.param([-1], 0, 500, 0.05, r"values\[0\] is -1\.0", id="below"),
        pytest.param([1, 2, math.nan], 0, 500, 0.05, r"values\[2\] is nan", id="not a number"),
        pytest.param([1], 0, 0, 0.05, "bounds must be finite and low below high", id="no room between the bounds"),
        pytest.param([1], 0, math.inf, 0.05, "bounds must be finite", id="unbounded"),
        pytest.param([1], 0, 500, 0, "alpha must be above 0", id="certainty"),
        pytest.param([1], 0, 500, 1, "alpha must be above 0 and below 1", id="no confidence"),
    ],
)
def test_refusals_name_what_is_wrong(values: list[float], low: float, high: float, alpha: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        lower_bound(values, low, high, alpha)


def test_all_evaluations_together_spend_alpha() -> None:
    spent = sum(spent_alpha(0.05, k) for k in range(1, 100_000))
    assert 0.0499 < spent < 0.05


@pytest.mark.parametrize(("alpha", "k"), [(0.05, 0), (0.0, 1), (1.0, 1)])
def test_spending_refuses_nonsense(alpha: float, k: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        spent_alpha(alpha, k)
