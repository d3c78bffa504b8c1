"""Wealth, intervals and quantiles: known values, and their promises under repeated looking."""

from __future__ import annotations

import math

import numpy as np
import pytest

from checkrein.judge import intervals
from checkrein.judge.betting import evidence, paid, paid_heavy, still_needed
from checkrein.judge.bounded_mean import FRACTIONS
from checkrein.judge.quantiles import quantile_interval

RUNS, LOOKS = 400, 300
MAY_ERR = 0.05 + 3 * math.sqrt(0.05 * 0.95 / RUNS)  # and three standard errors
DRAWS = {
    "coins": (lambda rng, size: rng.integers(0, 2, size) - 0.5, 0.25),
    "rare ruin": (lambda rng, size: np.where(rng.random(size) < 0.01, -0.99, 0.01), 0.0099),
    "skewed": (lambda rng, size: rng.beta(2, 6, size) - 0.25, 0.0209),
}


def test_evidence_is_the_gamblers_average_wealth() -> None:
    once = paid(np.array(0.5), 1.0)
    assert float(evidence(once)) == pytest.approx(math.log(1 + 0.5 * np.mean(FRACTIONS)))


def test_a_gain_far_below_the_loss_ruins_nobody() -> None:
    assert np.isfinite(paid(np.array(-1.0), 1.0)).all()
    assert np.isfinite(paid(np.array(-7.0), 1.0)).all()


def test_nobody_bets_where_everything_could_be_lost() -> None:
    assert not paid(np.array([5.0, -np.inf]), math.inf).any()


def test_a_heavy_gain_counts_little_more_than_its_logarithm() -> None:
    assert float(evidence(paid_heavy(np.array(1e6), 1.0))) < 2 * math.log(1e6)


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("heavy", [False, True], ids=["bounded", "variance"])
def test_wealth_against_the_truth_seldom_grows(name: str, heavy: bool) -> None:
    draw, variance = DRAWS[name]
    gains = draw(np.random.default_rng(11), (RUNS, LOOKS))
    wealth = np.cumsum(paid_heavy(gains, np.full(gains.shape, variance)) if heavy else paid(gains, 1.0), axis=1)
    assert np.mean(evidence(wealth).max(axis=1) >= math.log(20)) <= MAY_ERR


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("method", ["bernstein", "heavy"])
def test_an_interval_holds_the_mean_at_all_times_together(name: str, method: str) -> None:
    draw, variance = DRAWS[name]
    gains = draw(np.random.default_rng(12), (RUNS, LOOKS))
    series, right = intervals.empty((RUNS,)), np.ones(RUNS, dtype=bool)
    for x in gains.T:
        if method == "bernstein":
            series = intervals.bernstein(series, x, -1.0, 1.0, 0.05)
            low, high = (intervals.bernstein_bound(series, side, 0.05) for side in (-1, 1))
        else:
            series = intervals.heavy(series, x, variance, 0.05)
            low, high = (intervals.heavy_bound(series, side, 0.05) for side in (-1, 1))
        right &= (low <= 0) & (high >= 0)
    assert np.mean(~right) <= MAY_ERR
    assert np.median(high - low) < 0.5, "an interval that says nothing would be right as well"


def test_asymptotic_bounds_wait_and_then_close_in() -> None:
    x = np.random.default_rng(13).standard_normal(2000)
    series = intervals.empty()
    for i, value in enumerate(x, 1):
        series = intervals.moments(series, np.asarray(value))
        low, high = (float(intervals.asymptotic_bound(series, side, 0.05)) for side in (-1, 1))
        assert math.isinf(low) == (i < intervals.ASYMPTOTIC_FROM)
        assert low <= 0 <= high
    assert high - low < 0.2
    assert float(series[1]) == pytest.approx(x.mean())
    assert float(series[2]) == pytest.approx(x.var() * 2000)


def test_one_side_is_tighter_than_two() -> None:
    series = np.array([400.0, 0.0, 400.0, 0, 0, 0, 0])
    two, one = (float(intervals.asymptotic_bound(series, -1, 0.05, one_sided=o)) for o in (False, True))
    assert two < one < 0


def test_what_is_still_needed_goes_on_as_before() -> None:
    once = paid(np.full(50, 25.0), 475.0).sum(axis=0)
    assert still_needed(once, 50, 0.05) == 94 - 50
    assert still_needed(-np.abs(once), 50, 0.05) is None
    assert still_needed(once, 0, 0.05) is None


@pytest.mark.parametrize("p", [0.5, 0.99])
def test_a_quantile_lies_in_its_interval_at_all_times_together(p: float) -> None:
    runs = np.random.default_rng(14).random((200, 1500))
    looks = (10, 50, 200, 600, 1500)
    wrong = [any(not low <= p <= high for low, high in (quantile_interval(r[:n], p) for n in looks)) for r in runs]  # type: ignore[misc]
    assert np.mean(wrong) <= 0.05
    low, high = quantile_interval(runs[0], 0.5) or (0, 1)
    assert high - low < 0.2


def test_too_few_values_bound_no_quantile() -> None:
    assert quantile_interval([], 0.5) is None
    assert quantile_interval([1.0, 2.0], 0.99) == (-math.inf, math.inf)
    with pytest.raises(ValueError, match="p and alpha"):
        quantile_interval([1.0], 1.0)
