"""What a gate asks, in numbers; and which gates can never be answered."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal

TAIL_TOLERANCE = 0.05
"""By how much the share of returns below the clip may be above stable's: what happens there is not seen by the mean."""


@dataclass(frozen=True)
class Test:
    """One gate."""

    test: Literal["NonInferior", "Superior", "NotAbove"]
    role: Literal["Prove", "Guard"]
    alpha_pass: float
    """How often a candidate at the boundary may pass. Every proving gate must pass, so each keeps the whole alpha."""
    alpha_fail: float
    """How often a candidate at the boundary may fail; of all gates together, so it is split over them."""
    min_units: int = 10
    """Candidate units without which it never fails."""
    low: float | None = None
    high: float | None = None
    """Bounds of one unit's score. None: there is none."""
    margin_of: Literal["StableMean", "Range", "Absolute"] = "Absolute"
    margin: float = 0.0
    limit: float | None = None
    """NotAbove: what the candidate's mean may be."""
    maximum: float | None = None
    """Cost: what one unit can cost at most."""
    variance: float | None = None
    """A declared bound on the variance of one unit's score, in either arm."""
    clip: tuple[float, float] | None = None
    asymptotic: bool = False
    constant: float | None = None
    """Compared with this number instead of with stable's scores."""


Method = Literal["bets", "catoni", "asymptotic"]


@dataclass(frozen=True)
class Question:
    """Is the mean of `sign` x candidate + `shift` - `factor` x stable above 0?

    `paired`: of a block's two arms; otherwise of one candidate unit, without stable. A score beyond `low` and `high`
    (infinite where there is none) counts as the bound. `offset` is what the interval shown to people is relative to.
    """

    method: Method
    paired: bool
    sign: float
    shift: float
    factor: float
    low: float
    high: float
    offset: float
    alpha_pass: float
    alpha_fail: float
    alpha_shown: float
    variance: float = math.inf
    tail_below: float | None = None

    def score(self, value: float) -> float:
        """A unit's score, as this question counts it."""
        if self.tail_below is not None:
            return -1.0 if value < self.tail_below else 0.0
        return min(max(value, self.low), self.high)


@functools.lru_cache(maxsize=1024)
def questions(test: Test) -> tuple[Question, ...]:
    """All of them must be answered with yes. The first is about the mean, a second about what clipping hides."""
    clipped = test.clip is not None and test.constant is None and test.test != "NotAbove"
    alpha_fail = test.alpha_fail / (2 if clipped else 1)
    mean = _mean(test, alpha_fail)
    if not clipped or test.clip is None:
        return (mean,)
    tail = Question(
        method="bets",
        paired=True,
        sign=1.0,
        shift=TAIL_TOLERANCE,
        factor=1.0,
        low=-1.0,
        high=0.0,
        offset=0.0,
        alpha_pass=test.alpha_pass,
        alpha_fail=alpha_fail,
        alpha_shown=mean.alpha_shown,
        tail_below=test.clip[0],
    )
    return mean, tail


def _mean(test: Test, alpha_fail: float) -> Question:
    low, high = bounds(test)
    method: Method = "asymptotic" if test.asymptotic else "catoni" if test.variance is not None else "bets"
    shift, factor = _margin(test, low, high)
    paired = test.test != "NotAbove" and test.constant is None
    offset = 0.0
    if test.test == "NotAbove":
        shift, factor, method = test.limit or 0.0, 0.0, "bets"
    elif test.constant is not None:
        shift, factor, offset = shift - factor * test.constant, 0.0, test.constant
    return Question(
        method=method,
        paired=paired,
        sign=-1.0 if test.test == "NotAbove" else 1.0,
        shift=shift,
        factor=factor,
        low=low,
        high=high,
        offset=offset,
        alpha_pass=test.alpha_pass,
        alpha_fail=alpha_fail,
        alpha_shown=min(test.alpha_pass, 0.05),
        variance=math.inf if test.variance is None else test.variance,
    )


def bounds(test: Test) -> tuple[float, float]:
    """Of a score as it is counted; infinite where there is none. What is tested as NotAbove is never below 0."""
    if test.clip is not None:
        return test.clip
    low, high = test.low, test.high
    if test.test == "NotAbove":
        low = 0.0 if low is None else low
        high = high if test.maximum is None else test.maximum
    return -math.inf if low is None else low, math.inf if high is None else high


def _margin(test: Test, low: float, high: float) -> tuple[float, float]:
    """(shift, factor): what is added to the candidate, what stable is multiplied by."""
    sign = 1.0 if test.test == "NonInferior" else -1.0
    match test.margin_of:
        case "StableMean":
            return 0.0, 1.0 - sign * test.margin
        case "Range":
            return sign * test.margin * (high - low), 1.0
        case _:
            return sign * test.margin, 1.0


def refuse(test: Test) -> str | None:
    """Why this can never be shown, as a sentence that names the mend; None where it can."""
    if not (0 < test.alpha_pass < 1 and 0 < test.alpha_fail < 1):
        return "alpha must be above 0 and below 1"
    low, high = bounds(test)
    if not low < high:
        return f"the bounds [{low:g}, {high:g}] leave no room: the lower one must be below the upper one"
    return _refuse_limit(test, low, high) if test.test == "NotAbove" else _refuse_margin(test, low, high)


def _refuse_limit(test: Test, low: float, high: float) -> str | None:
    if test.limit is None:
        return "NotAbove needs a limit"
    if test.limit < low:
        return f"limit {test.limit:g} is below {low:g}, the least there can be; raise it"
    if test.limit >= high:
        return f"limit {test.limit:g} is not below {high:g}, the most there can be, so it asks nothing; lower it"
    if test.role == "Prove" and math.isinf(high):
        return "to prove that a cost is low takes the most that it can be; set maximum"
    return None


def _refuse_margin(test: Test, low: float, high: float) -> str | None:
    bounded = math.isfinite(low) and math.isfinite(high)
    if test.margin < 0:
        return f"margin {test.margin:g} is below 0; swap NonInferior and Superior instead"
    if test.margin_of == "StableMean" and low < 0:
        least = "there is no reward.bounds.min" if math.isinf(low) else f"reward.bounds.min is {low:g}, below 0"
        return f"{least}, so a margin of StableMean would flip its sign; use Range or Absolute"
    if test.margin_of == "Range" and not bounded:
        return "a margin of Range needs reward.bounds or clip; use Absolute"
    if not bounded and test.variance is None and not test.asymptotic:
        return (
            "no test of an unbounded mean is right without assumptions (Bahadur and Savage, 1956);"
            " set reward.bounds, clip, variance, or guarantee: Asymptotic"
        )
    return _refuse_target(test, low, high)


def _refuse_target(test: Test, low: float, high: float) -> str | None:
    shift, factor = _margin(test, low, high)
    if factor <= 0 or abs(shift) >= high - low:
        return f"margin {test.margin:g} covers all that a score can be; lower it"
    if test.constant is not None and factor * test.constant - shift >= high:
        asked = factor * test.constant - shift
        return f"the reference asks for a mean of {asked:g}, and {high:g} is the most there can be; use a lower margin"
    return None
