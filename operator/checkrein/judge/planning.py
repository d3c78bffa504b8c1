"""How many units a gate will need: simulated with the test's own arithmetic, from what stable is like."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from checkrein.judge.assignment import shape
from checkrein.judge.betting import Array, evidence, paid, paid_heavy
from checkrein.judge.datum import Arm, Design, Gain, losses, paired_gain, single_gain
from checkrein.judge.intervals import ASYMPTOTIC_FROM, asymptotic_bound
from checkrein.judge.question import Question, Test, questions, refuse
from checkrein.judge.tally import Flags

MOST_UNITS = 20_000
"""More are not planned with: such a gate cannot be shown."""
_RUNS = 100
_SHARE = 0.9  # of the runs must have passed
_CHUNK = 250  # blocks at once
_TELLING = 1000  # units after which it is clear where it goes
_SEED = 20240213


@dataclass(frozen=True)
class _Like:
    """What one unit's scores are like."""

    mean: float
    sd: float


def needed(
    test: Test,
    stable_mean: float,
    stable_sd: float,
    weights: Sequence[tuple[int, int | None]] = (),
    candidate_mean: float | None = None,
) -> int | None:
    """Candidate units with which nine of ten rollouts pass. None: it cannot be shown, or takes above MOST_UNITS.

    stable_mean, stable_sd: of one unit's score, in the metric that the test is about. The candidate is taken to be like
    stable, or to have `candidate_mean`; so Superior cannot be shown without one. weights: the canary's steps, each a
    weight in per cent and the candidate units after which the next begins; the last goes on for as long as it takes.
    Without any: weight 50.
    """
    if refuse(test) is not None or not (math.isfinite(stable_mean) and stable_sd >= 0):
        return None
    stable = _Like(stable_mean, stable_sd)
    candidate = _Like(stable_mean if candidate_mean is None else candidate_mean, stable_sd)
    steps = tuple(weights) or ((50, None),)
    counts = [_needed(question, test, candidate, stable, steps) for question in questions(test)]
    found = [count for count in counts if count is not None]
    return max(found) if len(found) == len(counts) else None


def _needed(
    question: Question, test: Test, candidate: _Like, stable: _Like, steps: Sequence[tuple[int, int | None]]
) -> int | None:
    rng = np.random.default_rng(_SEED)
    wealth, series, passed = np.zeros((_RUNS, 9)), np.zeros((_RUNS, 3)), np.full(_RUNS, np.inf)
    units = 0
    for blocks, candidates, stables in _chunks(question, steps):
        size = (_RUNS, blocks)
        ours = _draw(rng, question, test, candidate, candidates, size)
        if question.paired:
            theirs = _draw(rng, question, test, stable, stables, size)
            gain = paired_gain(question, Arm(ours, ours), Arm(theirs, theirs), Design(candidates, stables), 0.0)
        else:
            gain = single_gain(question, ours, ours)
        if np.mean(gain.low) <= 0 and units == 0:
            return None
        if question.method == "asymptotic":
            series, yes = _asymptotic(question, series, np.asarray(gain.low))
        else:
            wealth, yes = _wealth(question, wealth, gain)
            if units >= _TELLING and not _may_ever(question, wealth, units + candidates * blocks):
                return None
        at = units + candidates * (1 + np.argmax(yes, axis=1))
        passed = np.minimum(passed, np.where(yes.any(axis=1), at, np.inf))
        units += candidates * blocks
        if np.mean(np.isfinite(passed)) >= _SHARE:
            return int(np.sort(passed)[math.ceil(_SHARE * _RUNS) - 1])
    return None


def _may_ever(question: Question, wealth: Array, units: int) -> bool:
    """Whether the middle rollout, going on like this, comes at least half way within MOST_UNITS."""
    typical = np.median(wealth, axis=0) * MOST_UNITS / units
    return bool(evidence(typical) >= -math.log(question.alpha_pass) / 2)


def _chunks(question: Question, steps: Sequence[tuple[int, int | None]]) -> Iterator[tuple[int, int, int]]:
    """(blocks, candidate units in each, stable units in each). One unit at a time where it is not about pairs."""
    units = 0
    for i, (weight, share) in enumerate(steps):
        size, candidates = shape(weight)
        stables = size - candidates
        if not question.paired:
            candidates, stables = 1, 0
        last = i == len(steps) - 1
        until = MOST_UNITS if last or share is None else min(MOST_UNITS, units + share)
        while units < until:
            blocks = min(_CHUNK, math.ceil((until - units) / candidates))
            yield blocks, candidates, stables
            units += blocks * candidates


def _draw(
    rng: np.random.Generator, question: Question, test: Test, like: _Like, count: int, size: tuple[int, int]
) -> Array:
    """Means of `count` scores: Beta where there are bounds, otherwise normal."""
    if question.tail_below is not None or test.clip is not None:
        scores = rng.normal(like.mean, like.sd, (*size, min(count, 20)))
        if question.tail_below is not None:
            return np.asarray(-(scores < question.tail_below).mean(axis=-1))
        return np.asarray(np.clip(scores, question.low, question.high).mean(axis=-1))
    low, high = question.low, question.high
    sd = like.sd / math.sqrt(count)
    if not (math.isfinite(low) and math.isfinite(high)):
        return np.clip(rng.normal(like.mean, sd, size), low, high)
    mean = min(max((like.mean - low) / (high - low), 0.0), 1.0)
    room, variance = mean * (1 - mean), (sd / (high - low)) ** 2
    if variance <= 1e-12 or room <= 1e-12:
        return np.full(size, low + mean * (high - low))
    if variance >= room:
        return np.asarray(low + (high - low) * (rng.random(size) < mean))
    strength = room / variance - 1
    return np.asarray(low + (high - low) * rng.beta(mean * strength, (1 - mean) * strength, size))


def _wealth(question: Question, before: Array, gain: Gain) -> tuple[Array, Flags]:
    """(log wealth at the end, whether it has passed after each block)."""
    low = np.asarray(gain.low)
    if question.method == "catoni":
        grown = paid_heavy(low, np.broadcast_to(np.asarray(gain.variance), low.shape))
    else:
        grown = paid(low, losses(question, gain)[0])
    path = before[:, np.newaxis, :] + np.cumsum(grown, axis=1)
    return path[:, -1, :], evidence(path) >= -math.log(question.alpha_pass)


def _asymptotic(question: Question, before: Array, gain: Array) -> tuple[Array, Flags]:
    """The same; `before` holds count, sum and sum of squares."""
    ones = np.ones_like(gain)
    path = before[:, np.newaxis, :] + np.cumsum(np.stack([ones, gain, gain * gain], axis=-1), axis=1)
    count, total, squares = np.moveaxis(path, -1, 0)
    series = np.stack([count, total / count, squares - total * total / count], axis=-1)
    above = asymptotic_bound(series, -1, question.alpha_pass, one_sided=True) > 0
    return path[:, -1, :], above & (count >= ASYMPTOTIC_FROM)
