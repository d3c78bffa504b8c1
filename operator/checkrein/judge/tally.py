"""What one question has come to: wealth on both sides, and the interval for people.

Pure: adding makes a new tally. Arrays have any leading shape, so that a simulation adds to a thousand rollouts at once
by the very code that judges one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checkrein.judge import intervals
from checkrein.judge.betting import GAMBLERS, Array, evidence, paid, paid_heavy
from checkrein.judge.datum import Arm, Design, Gain, Number, losses, paired_gain, single_gain
from checkrein.judge.question import Question

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Tally:
    """The state of one question.

    win, lose: log wealth (..., 9) of those who bet on a pass, on a fail. lower, upper: the series (..., 7) of the
    interval, unknown scores counted as the least, as the most. pass_moments, fail_moments: of the gain, for asymptotic
    tests. centre: (..., 2), sum and weight of all scores.
    """

    win: Array
    lose: Array
    lower: Array
    upper: Array
    pass_moments: Array
    fail_moments: Array
    centre: Array

    def dump(self) -> dict[str, Any]:
        """As JSON data. Series that no datum came to, and their tails, are left out."""
        return {f.name: _trimmed(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def load(cls, data: dict[str, Any]) -> Tally:
        """The inverse of dump, for one rollout."""
        sizes = {"win": GAMBLERS, "lose": GAMBLERS, "centre": 2}
        return cls(**{name: _padded(data[name], sizes.get(name, intervals.NUMBERS)) for name in _NAMES})


_LEARNT = 10  # weight of the scores that make a centre, where bounds do not give one to begin with
_NAMES = tuple(f.name for f in fields(Tally))


def new(question: Question, shape: tuple[int, ...] = ()) -> Tally:
    """Without data."""
    centre = np.zeros((*shape, 2))
    if np.isfinite(question.high - question.low):
        centre += np.array([(question.low + question.high) / 2, 1.0])
    wealth, series = np.zeros((*shape, GAMBLERS)), intervals.empty(shape)
    return Tally(wealth, wealth, series, series, series, series, centre)


def add_pair(question: Question, tally: Tally, candidate: Arm, stable: Arm, design: Design) -> Tally:
    """With one more block of two arms."""
    total, weight = tally.centre[..., 0], tally.centre[..., 1]
    centre = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
    plain = replace(question, shift=0.0, factor=1.0)
    bet_on = paired_gain(question, candidate, stable, design, centre)
    shown = paired_gain(plain, candidate, stable, design, centre)
    if design.centred and not np.isfinite(question.high - question.low):
        bet_on, shown = _once_learnt(bet_on, weight), _once_learnt(shown, weight)
    tally = _show(question, _bet(question, tally, bet_on), shown)
    middle = (np.asarray(candidate.low) + candidate.high + stable.low + stable.high) / 2
    seen = np.stack([middle, np.broadcast_to(np.asarray(candidate.share) + stable.share, middle.shape)], axis=-1)
    return replace(tally, centre=tally.centre + seen)


def add_single(question: Question, tally: Tally, low: Number, high: Number) -> Tally:
    """With one more candidate unit; `low` and `high` are its score, or what an unknown one may be."""
    plain = replace(question, sign=1.0, shift=-question.offset)
    tally = _bet(question, tally, single_gain(question, low, high))
    return _show(question, tally, single_gain(plain, low, high))


def evidence_of(question: Question, tally: Tally) -> tuple[Array, Array]:
    """Log of the evidence for a pass and for a fail; not of an asymptotic test, which has none."""
    return evidence(tally.win), evidence(tally.lose)


def answers(question: Question, tally: Tally) -> tuple[Flags, Flags]:
    """Whether it is shown now that the answer is yes, and that it is no."""
    if question.method == "asymptotic":
        above = intervals.asymptotic_bound(tally.pass_moments, -1, question.alpha_pass, one_sided=True)
        below = intervals.asymptotic_bound(tally.fail_moments, 1, question.alpha_fail, one_sided=True)
        return above > 0, below < 0
    return evidence(tally.win) >= -np.log(question.alpha_pass), evidence(tally.lose) >= -np.log(question.alpha_fail)


def interval(question: Question, tally: Tally) -> tuple[Array, Array]:
    """Candidate minus stable, minus the constant, or the candidate itself; right at all times together with probability
    1 - alpha_shown. Infinite where nothing can be said."""
    bound = _BOUNDS[question.method]
    return bound(tally.lower, -1, question.alpha_shown), bound(tally.upper, 1, question.alpha_shown)


def _once_learnt(gain: Gain, weight: Array) -> Gain:
    """Nothing is bet on before the centre is known roughly."""
    learnt = np.asarray(weight >= _LEARNT, dtype=np.float64)
    return replace(gain, low=np.multiply(gain.low, learnt), high=np.multiply(gain.high, learnt))


def _bet(question: Question, tally: Tally, gain: Gain) -> Tally:
    low, high = np.asarray(gain.low), np.asarray(gain.high)
    match question.method:
        case "asymptotic":
            return replace(
                tally,
                pass_moments=intervals.moments(tally.pass_moments, low),
                fail_moments=intervals.moments(tally.fail_moments, high),
            )
        case "catoni":
            win, lose = paid_heavy(low, gain.variance), paid_heavy(-high, gain.variance)
        case "bets":
            to_pass, to_fail = losses(question, gain)
            win, lose = paid(low, to_pass), paid(-high, to_fail)
    return replace(tally, win=tally.win + win, lose=tally.lose + lose)


def _show(question: Question, tally: Tally, gain: Gain) -> Tally:
    alpha, low, high = question.alpha_shown, np.asarray(gain.low), np.asarray(gain.high)
    lower, upper = tally.lower, tally.upper
    match question.method:
        case "asymptotic":
            lower, upper = intervals.moments(lower, low), intervals.moments(upper, high)
        case "catoni":
            lower = intervals.heavy(lower, low, gain.variance, alpha)
            upper = intervals.heavy(upper, high, gain.variance, alpha)
        case "bets" if np.isfinite(question.high):
            lower = intervals.bernstein(lower, low, gain.least, gain.most, alpha)
            upper = intervals.bernstein(upper, high, gain.least, gain.most, alpha)
    return replace(tally, lower=lower, upper=upper)


_BOUNDS = {
    "bets": intervals.bernstein_bound,
    "catoni": intervals.heavy_bound,
    "asymptotic": intervals.asymptotic_bound,
}


def _trimmed(array: Array) -> list[float]:
    numbers: list[float] = array.tolist()
    while numbers and numbers[-1] == 0.0:
        numbers.pop()
    return numbers


def _padded(numbers: list[float], size: int) -> Array:
    return np.array([*numbers, *[0.0] * (size - len(numbers))], dtype=np.float64)
