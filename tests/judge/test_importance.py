"""The bound on importance-weighted means: figures by hand, its promise under repeated looking, the worth of guesses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from checkrein.judge.bounded_mean import FRACTIONS
from checkrein.judge.bounded_mean import lower_bound as plain_bound
from checkrein.judge.importance import Side, lower_bound, robust, weights

ALPHA = 0.05


def coins(rng: np.random.Generator, n: int, chance: float, propensity: float, guess: float, steps: int = 1) -> Side:
    """A policy that always takes an action of this propensity, and then wins with this chance."""
    ratios = (rng.random((n, steps)) < propensity) / propensity
    return Side(ratios, (rng.random(n) < chance) * 1.0, (np.full((n, steps), guess),), propensity)


def on_policy(values: list[float]) -> Side:
    array = np.array(values)
    return Side(np.ones((len(array), 1)), array, (), 1.0)


def test_one_perfect_episode_by_hand() -> None:
    """Weight 2 on an outcome of one: wealth 1 + f (2/m - 1), averaged over the bets f, reaches 1/alpha at this m."""
    side = Side(np.array([[2.0]]), np.array([1.0]), (), None)
    by_hand = 2 / (1 + (1 / ALPHA - 1) / np.mean(FRACTIONS))
    assert lower_bound([side], 0, ALPHA) == pytest.approx(by_hand, abs=1e-5)


def test_without_weights_it_is_the_bound_of_a_bounded_mean() -> None:
    """But for the share of the wealth that is bet on guesses, of which there are none here."""
    values = np.random.default_rng(1).beta(8, 2, 200).tolist()
    side = Side(np.ones((200, 1)), np.array(values), (), None)
    assert lower_bound([side], 0, ALPHA) == pytest.approx(plain_bound(values, 0, 1, ALPHA), abs=1e-5)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("guess", [0.0, 0.3, 1.0], ids=["no guess", "a good guess", "a bad guess"])
def test_guesses_never_move_the_mean(steps: int, guess: float) -> None:
    side = coins(np.random.default_rng(2), 200_000, 0.3, 0.5, guess, steps)
    values = robust(side, 0)
    assert values.mean() == pytest.approx(0.3, abs=4 * values.std() / math.sqrt(len(values)))


@pytest.mark.parametrize("cut", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_cut_guesses_stay_above_what_was_promised(cut: float, steps: int) -> None:
    """Every path of actions, the worst outcome and the highest guesses."""
    taken = np.array(np.meshgrid(*[[0.0, 1.0]] * steps)).reshape(steps, -1).T
    side = Side(taken / 0.2, np.zeros(len(taken)), (np.ones((len(taken), steps)),), 0.2)
    assert robust(side, 0, cut).min() >= -cut - 1e-12


def test_good_guesses_narrow_it_and_bad_ones_do_no_harm() -> None:
    rng = np.random.default_rng(3)
    ratios, outcome = (rng.random((2000, 1)) < 0.1) / 0.1, np.full(2000, 0.8)
    bounds = {
        guess: lower_bound([Side(ratios, outcome, (np.full((2000, 1), guess),), 0.1)], 0, ALPHA) for guess in (0.0, 0.8)
    }
    unguessed = lower_bound([Side(ratios, outcome, (), None)], 0, ALPHA)
    assert unguessed + 0.05 < bounds[0.8] <= 0.8
    assert unguessed - 0.02 < bounds[0.0]


@pytest.mark.parametrize(
    ("chance", "propensity", "steps"),
    [
        pytest.param(0.5, 0.5, 1, id="half of it overlaps"),
        pytest.param(0.9, 0.05, 1, id="rarely taken"),
        pytest.param(0.02, 0.3, 1, id="rarely won"),
        pytest.param(0.7, 0.6, 4, id="four steps"),
    ],
)
def test_looking_again_and_again_errs_no_more_often_than_alpha(chance: float, propensity: float, steps: int) -> None:
    """200 runs, looked at three times each; 5 % may err, plus three standard errors of that share."""
    rng, looks, erred = np.random.default_rng(20240217), (20, 60, 200), 0
    for _ in range(200):
        side = coins(rng, looks[-1], chance, propensity, 0.6, steps)
        seen = (Side(side.ratios[:n], side.outcome[:n], (side.guesses[0][:n],), propensity) for n in looks)
        erred += any(lower_bound([s], 0, ALPHA) > chance for s in seen)
    assert erred / 200 <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / 200)


def test_what_is_unknown_only_lowers_it() -> None:
    side = on_policy([0.9] * 200)
    bounds = [lower_bound([side], unknown, ALPHA) for unknown in (0, 1, 5, 50)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] - bounds[1] < 0.02
    assert bounds[0] - bounds[3] > 0.1


def test_two_sides_are_bound_together() -> None:
    """Better than both for themselves: what one loses on an episode the other one has."""
    rng = np.random.default_rng(4)
    won = (rng.random(500) < 0.5) * 1.0
    together = lower_bound([on_policy(won.tolist()), on_policy((1 - won).tolist())], 0, ALPHA)
    apart = sum(lower_bound([on_policy(side.tolist())], 0, ALPHA / 2) for side in (won, 1 - won))
    assert apart + 0.05 < together <= 1


def test_nothing_shown_is_nothing() -> None:
    side = Side(np.zeros((5, 2)), np.ones(5), (np.ones((5, 2)),), 0.1)
    assert lower_bound([side], 3, ALPHA) < 1e-6
    assert weights(side.ratios).tolist() == [0] * 5
