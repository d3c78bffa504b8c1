"""The benchmark of the gates judges as the operator does."""

from __future__ import annotations

import numpy as np
import pytest
from tests.bench import gates_rollouts as rollouts
from tests.bench.gates import CLIPPED, KINDS
from tests.bench.gates_returns import RETURNS, HeavyTailed, Kind, Plain

from checkrein.judge.blocks import Block
from checkrein.judge.canary import begin, judge, update

RUNS = 4


@pytest.mark.parametrize(
    ("kind", "factor"),
    [
        pytest.param(Plain("bounded", 447, 98), 0.8, id="a fail"),
        pytest.param(Plain("bounded", 447, 40), 1.0, id="a pass"),
        pytest.param(HeavyTailed("clipped", CLIPPED, 2.1, scale=20), 1.0, id="two questions"),
        pytest.param(next(k for k in KINDS if k.name == "clients"), 0.8, id="one by one"),
    ],
)
def test_a_thousand_rollouts_at_once_are_judged_like_one(kind: Kind, factor: float) -> None:
    outcome = rollouts.play(kind, factor, 400, RUNS, seed=4)
    assert (outcome.passed | outcome.failed).all()
    for run in range(RUNS):
        state, verdict, units = begin(kind.test), "Continue", 0
        for seen in kind.blocks(np.random.default_rng(4), RUNS, factor):
            ours, theirs = (float(scores[run]) for scores in seen.scores)
            block = Block((ours,), (theirs,))
            if seen.design.probability is not None:
                told = Block((ours,), ()) if np.isnan(theirs) else Block((), (theirs,))
                block = Block(told.candidate, told.stable, probability=seen.design.probability)
            state = update(kind.test, state, [block])
            finding = judge(kind.test, state)
            if finding.verdict != "Continue":
                verdict, units = finding.verdict, finding.units
                break
        assert verdict == ("Pass" if outcome.passed[run] else "Fail")
        assert units == outcome.units[run]


def test_the_factor_is_the_ratio_of_means() -> None:
    for kind in KINDS:
        outcome = rollouts.play(kind, 1.0, 5, 2000)
        same = np.nanmean(outcome.scores[0]) / np.nanmean(outcome.scores[1])
        assert same == pytest.approx(1.0, abs=0.03), kind.name


def test_others_promote_what_is_better_and_stop_what_is_worse() -> None:
    better, worse = np.full((2, 100, 3), 400.0), np.full((2, 100, 3), 400.0)
    better[0] += 50
    worse[0] -= 50
    for promoted in (rollouts.argo, rollouts.flagger, rollouts.threshold):
        assert promoted(better, 0.05).all()
        assert not promoted(worse, 0.05).any()


def test_a_t_test_by_the_book() -> None:
    """(1.645 + 0.842)^2 x (spread/effect)^2 for a power of 80 % at 5 %."""
    scores = np.random.default_rng(1).normal(400, 40, (2, 100, 1000))
    passed = np.arange(1000) < 800
    outcome = rollouts.Outcome(passed, ~passed, np.zeros(1000), None, scores)
    expected = 6.18 * (40**2 * (1 + 0.95**2)) / 20**2
    assert rollouts.t_test_units(outcome, 0.05, "Pass", RETURNS) == pytest.approx(expected, rel=0.03)
