"""A thousand rollouts at once through `checkrein.judge.tally`, looked at after every block; and what others do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tests.bench.gates_returns import Kind

from checkrein.judge import tally as tallies
from checkrein.judge.betting import Array
from checkrein.judge.canary import Test
from checkrein.judge.question import questions

RUNS = 1000
PEEK_FROM = 100  # blocks that are kept for those who compare means
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Outcome:
    """What became of the rollouts, arrays of shape (runs,). units: candidate units at the verdict, NaN without one.

    covered: whether the interval always held the truth; None where there is no one truth. scores: the plain means of
    the first blocks' arms, shape (2, blocks, runs).
    """

    passed: Flags
    failed: Flags
    units: Array
    covered: Flags | None
    scores: Array


@dataclass
class Watch:
    """Latches verdicts as checkrein.judge.canary does (a test holds the two together)."""

    test: Test
    runs: int

    def __post_init__(self) -> None:
        asked = len(questions(self.test))
        self.yes = np.zeros((asked, self.runs), dtype=bool)
        self.no = np.zeros((asked, self.runs), dtype=bool)
        self.passed = np.zeros(self.runs, dtype=bool)
        self.failed = np.zeros(self.runs, dtype=bool)
        self.seen = np.zeros(self.runs)
        self.units = np.full(self.runs, np.nan)

    def look(self, i: int, yes: Flags, no: Flags) -> None:
        """The i-th question's answers, now."""
        no = no & (self.seen >= self.test.min_units)
        open_ = ~self.yes[i] & ~self.no[i]
        self.no[i] |= open_ & no
        self.yes[i] |= open_ & yes & ~no & (self.test.role == "Prove")

    def decide(self) -> None:
        """After all questions."""
        open_ = ~self.passed & ~self.failed
        fails = open_ & self.no.any(axis=0)
        passes = open_ & ~fails & self.yes.all(axis=0)
        self.failed |= fails
        self.passed |= passes
        self.units = np.where(fails | passes, self.seen, self.units)


def play(kind: Kind, factor: float, units: int, runs: int = RUNS, seed: int = 0) -> Outcome:
    """Until every rollout has seen so many candidate units, or all are decided and the interval is of no interest."""
    asked = questions(kind.test)
    tally = [tallies.new(question, (runs,)) for question in asked]
    watch, truth = Watch(kind.test, runs), kind.effect(factor)
    covered = np.ones(runs, dtype=bool)
    scores: list[tuple[Array, Array]] = []
    for seen in kind.blocks(np.random.default_rng(seed), runs, factor):
        watch.seen = watch.seen + seen.units
        for i, question in enumerate(asked):
            tally[i] = tallies.add_pair(question, tally[i], *seen.arms[i], seen.design)
            watch.look(i, *tallies.answers(question, tally[i]))
        watch.decide()
        if truth is not None:
            low, high = tallies.interval(asked[0], tally[0])
            covered &= (low <= truth) & (truth <= high)
        if len(scores) < PEEK_FROM:
            scores.append(seen.scores)
        decided = truth is None and (watch.passed | watch.failed).all() and len(scores) >= PEEK_FROM
        if decided or watch.seen.min() >= units:
            break
    told = np.array(scores).transpose(1, 0, 2)
    return Outcome(watch.passed, watch.failed, watch.units, None if truth is None else covered, told)


def play_alone(
    test: Test, draw: Callable[[np.random.Generator, int], Array], truth: float | None, units: int, seed: int = 0
) -> Outcome:
    """The same for a test of the candidate's units alone."""
    question = questions(test)[0]
    tally, watch = tallies.new(question, (RUNS,)), Watch(test, RUNS)
    covered, rng = np.ones(RUNS, dtype=bool), np.random.default_rng(seed)
    for _ in range(units):
        watch.seen = watch.seen + 1
        scores = draw(rng, RUNS)
        tally = tallies.add_single(question, tally, scores, scores)
        watch.look(0, *tallies.answers(question, tally))
        watch.decide()
        if truth is not None:
            low, high = tallies.interval(question, tally)
            covered &= (low <= truth) & (truth <= high)
    return Outcome(watch.passed, watch.failed, watch.units, None if truth is None else covered, np.empty((2, 0, RUNS)))


def t_test_units(outcome: Outcome, margin: float, verdict: Literal["Pass", "Fail"], test: Test) -> float | None:
    """Candidate units of a t-test that is looked at once, for the power that was found (99.95 % where all succeeded).

    Paired where blocks have both arms.
    """
    power = min(float(np.mean(outcome.passed if verdict == "Pass" else outcome.failed)), 1 - 0.5 / RUNS)
    alpha = test.alpha_pass if verdict == "Pass" else test.alpha_fail
    if power <= alpha:
        return None
    ours, theirs = outcome.scores[0], (1 - margin) * outcome.scores[1]
    paired = not np.isnan(ours + theirs).any()
    effect = float(np.nanmean(ours) - np.nanmean(theirs))
    spread = float(np.std(ours - theirs) if paired else math.hypot(np.nanstd(ours), np.nanstd(theirs)))
    if (effect > 0) != (verdict == "Pass"):
        return None
    normal = NormalDist()
    return math.ceil(((normal.inv_cdf(1 - alpha) + normal.inv_cdf(power)) * spread / effect) ** 2)


def argo(scores: Array, margin: float) -> Flags:
    """Whether promoted: an AnalysisTemplate with `count: 5` measurements over 10 pairs each, the success condition
    "candidate's mean is at least (1 - margin) times stable's", `failureLimit: 2`."""
    good = _measured(scores, 10, margin)[:5]
    passed: Flags = (~good).sum(axis=0) <= 2
    return passed


def flagger(scores: Array, margin: float) -> Flags:
    """Whether promoted: a check every 10 pairs, promotion after 5 good ones (stepWeight 10, maxWeight 50), back after
    `threshold: 5` bad ones."""
    good = _measured(scores, 10, margin)[:9]
    wins, losses = np.cumsum(good, axis=0), np.cumsum(~good, axis=0)
    never = len(good)
    won: Array = np.where((wins >= 5).any(axis=0), (wins >= 5).argmax(axis=0), never)
    lost: Array = np.where((losses >= 5).any(axis=0), (losses >= 5).argmax(axis=0), never)
    passed: Flags = won < lost
    return passed


def threshold(scores: Array, margin: float) -> Flags:
    """Whether promoted: the means of 50 pairs, once."""
    passed: Flags = _measured(scores, 50, margin)[0]
    return passed


def as_they_finish(length: Callable[[tuple[int, int]], Array], factor: float, margin: float) -> Flags:
    """Whether promoted: the means of the first 50 candidate episodes that finish and of stable's in the same time.

    In each arm one episode begins in each unit of time, and lasts as long as it returns, at most 500. Stable has been
    at it for long, the candidate begins at 0: its short episodes report first.
    """
    ours, theirs = factor * length((RUNS, 600)), length((RUNS, 1200))
    finished = ours + np.arange(600)
    until = np.sort(finished, axis=1)[:, 49:50]
    stable_finished = theirs + np.arange(-600, 600)
    counted = (stable_finished > 0) & (stable_finished <= until)
    stable = (theirs * counted).sum(axis=1) / counted.sum(axis=1)
    candidate = (ours * (finished <= until)).sum(axis=1) / (finished <= until).sum(axis=1)
    passed: Flags = candidate >= (1 - margin) * stable
    return passed


def _measured(scores: Array, pairs: int, margin: float) -> Flags:
    """Whether each run of so many pairs met the condition, shape (measurements, runs)."""
    _, blocks, runs = scores.shape
    usable = blocks // pairs * pairs
    means = scores[:, :usable].reshape(2, -1, pairs, runs)
    with np.errstate(invalid="ignore"):
        told = np.nansum(means, axis=2) / np.maximum((~np.isnan(means)).sum(axis=2), 1)
    good: Flags = told[0] >= (1 - margin) * told[1]
    return good
