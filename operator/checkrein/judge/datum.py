"""From a block to the gain that is bet on: candidate's mean minus stable's over the planned slots of the block.

Given what happened before and what each unit would do in either arm, a permuted block's difference has the block's
mean effect as its mean: drift, dependence over time and changing weights do not disturb it (Ham, Bojinov, Lindon and
Tingley, "Design-based confidence sequences", 2023). Two refinements keep that true: units that are assigned one by one
count 1/probability times, and units outside a subgroup count 0. There a constant, known before the block, is taken
from every score in both arms; it cancels in the mean and spares most of the noise. All numbers may be arrays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from checkrein.judge.betting import Array
from checkrein.judge.blocks import Block, Score
from checkrein.judge.question import Question

_SMALLEST_LOSS = 1e-3
"""Of the range: where hardly anything can be lost (limit 0), bets stay finite."""

Number = Array | float


@dataclass(frozen=True)
class Arm:
    """What one arm's planned slots in a block came to, on average.

    `low` and `high` differ where a score is unknown: it counts as the least, and as the most. `share` of the slots
    count: 1, less in a subgroup, 1/probability or 0 where units are assigned one by one.
    """

    low: Number
    high: Number
    share: Number = 1.0


@dataclass(frozen=True)
class Design:
    """How a block's units were assigned: how many to each arm, or one by a coin; and whether some do not count."""

    candidates: int = 1
    stables: int = 1
    probability: float | None = None
    subgroup: bool = False

    @property
    def centred(self) -> bool:
        """Whether the constant matters."""
        return self.subgroup or self.probability is not None


@dataclass(frozen=True)
class Gain:
    """What is bet on: `low` to pass and `high` to fail, both between `least` and `most`, which were known before."""

    low: Number
    high: Number
    least: Number
    most: Number
    variance: Number


def paired_gain(question: Question, candidate: Arm, stable: Arm, design: Design, centre: Number) -> Gain:
    """Of a block of two arms."""
    shift, factor = question.shift, question.factor
    ours_low, ours_high = _moved(candidate, 1.0, shift, centre)
    theirs_low, theirs_high = _moved(stable, factor, 0.0, centre)
    ours = question.low + shift - centre, question.high + shift - centre
    theirs = factor * question.low - centre, factor * question.high - centre
    least, most = _limits(ours, theirs, design)
    return Gain(
        low=np.clip(ours_low - theirs_high, least, most),
        high=np.clip(ours_high - theirs_low, least, most),
        least=least,
        most=most,
        variance=_variance(question, design),
    )


def single_gain(question: Question, low: Number, high: Number) -> Gain:
    """Of one candidate unit, whose score lies between `low` and `high` (the same number where it is known)."""
    sign, shift = question.sign, question.shift
    ends = sorted((sign * question.low + shift, sign * question.high + shift))
    first, second = (low, high) if sign > 0 else (high, low)
    return Gain(sign * first + shift, sign * second + shift, ends[0], ends[1], question.variance)


def losses(question: Question, gain: Gain) -> tuple[Number, Number]:
    """The most that a bet of 1 can lose: on passing, on failing."""
    span = question.high - question.low
    floor = _SMALLEST_LOSS * span if math.isfinite(span) else _SMALLEST_LOSS
    return np.maximum(-np.asarray(gain.least), floor), np.maximum(np.asarray(gain.most), floor)


def arms(block: Block, question: Question, unknown: tuple[float, float]) -> tuple[Arm, Arm] | None:
    """Candidate and stable of one block. None where it says nothing: an arm without planned slots."""
    scores = (block.candidate, block.stable)
    inside = (block.candidate_in, block.stable_in)
    shares: tuple[float | None, float | None] = (None, None)
    if block.probability is not None:
        shares = (1 / block.probability, 1 / (1 - block.probability))
    elif not all(scores):
        return None
    ours, theirs = (
        _arm(
            scores[i], inside[i], question, unknown, 1 / len(scores[i]) if share is None and scores[i] else share or 0.0
        )
        for i, share in enumerate(shares)
    )
    return ours, theirs


def design(block: Block) -> Design:
    """Of a block."""
    subgroup = block.candidate_in is not None or block.stable_in is not None
    return Design(len(block.candidate), len(block.stable), block.probability, subgroup)


def members(scores: Sequence[Score], inside: Sequence[bool] | None) -> list[Score]:
    """The scores of those that count."""
    return [s for i, s in enumerate(scores) if inside is None or inside[i]]


def known(question: Question, score: Score) -> float | None:
    """A score as the question counts it; what is no number is unknown."""
    return None if score is None or math.isnan(score) else question.score(score)


def _arm(
    scores: Sequence[Score],
    inside: Sequence[bool] | None,
    question: Question,
    unknown: tuple[float, float],
    weight: float,
) -> Arm:
    counted = [known(question, score) for score in members(scores, inside)]
    low = sum(unknown[0] if s is None else s for s in counted)
    high = sum(unknown[1] if s is None else s for s in counted)
    return Arm(low * weight, high * weight, len(counted) * weight)


def _moved(arm: Arm, factor: float, shift: float, centre: Number) -> tuple[Number, Number]:
    moved = (shift - centre) * arm.share
    return factor * arm.low + moved, factor * arm.high + moved


def _limits(ours: tuple[Number, Number], theirs: tuple[Number, Number], design: Design) -> tuple[Number, Number]:
    if not design.centred:
        return ours[0] - theirs[1], ours[1] - theirs[0]
    p = design.probability
    if p is None:  # nobody in the group: 0
        ours, theirs = ((np.minimum(low, 0.0), np.maximum(high, 0.0)) for low, high in (ours, theirs))
        return ours[0] - theirs[1], ours[1] - theirs[0]
    least = np.minimum(np.minimum(np.asarray(ours[0]) / p, -np.asarray(theirs[1]) / (1 - p)), 0.0)
    most = np.maximum(np.maximum(np.asarray(ours[1]) / p, -np.asarray(theirs[0]) / (1 - p)), 0.0)
    return least, most


def _variance(question: Question, design: Design) -> float:
    """Of the gain, where units are independent given the past. The constant is taken to be within a standard deviation
    of either mean: with a square of at most the variance, it at most doubles it."""
    factor = question.factor * question.factor
    if design.probability is not None:
        return 2 * question.variance * (1 / design.probability + factor / (1 - design.probability))
    once = question.variance * (1 / design.candidates + factor / design.stables)
    return 2 * once if design.subgroup else once
