"""Whether a mean has fallen since it was proved: a sequential change detector that may be read at any time.

Told of returns here; errors and costs are returns with their sign turned.

Shin, Ramdas, Rinaldo, "E-detectors: a nonparametric framework for sequential change detection", NEJSDS 2(2), 2023.
For every start j of a change a gambler bets from unit j on that the mean now lies below `baseline - drop`; while it
does not, his wealth is a supermartingale. The sum of their wealths (Shiryaev and Roberts) is an e-detector: it grows
by at most one a unit, so it comes to 1/alpha after 1/alpha units on average at the soonest, however the units are
distributed and whatever they depend on, as long as each one's mean given the past is not below. A sum over j is one
number by M <- (M + 1) * L; it is averaged over fixed bets, as in `bounded_mean`.

The baseline is taken as it is given: its own error is part of what `drop` must leave room for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from checkrein.judge.bounded_mean import FRACTIONS

RECENT = 50
"""Units over which the recent mean forgets, once there were so many."""
_CEILING = 1e12  # a wealth kept lower than it is errs on the side of silence, and comes down again in time
_DIGITS = 8


@dataclass(frozen=True)
class Alarm:
    """What the detector says. `evidence` alarms at 1/alpha; `alarmed` stays true once it did. `recent`: the mean of
    the latest returns, in their unit; None before the first."""

    evidence: float
    alarmed: bool
    units: int
    recent: float | None


def refuse(baseline: float, low: float, high: float, drop: float, alpha: float) -> str | None:
    """Why such a drop could never be shown; None where it could."""
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        return f"reward.bounds must be finite and min below max, got [{low:g}, {high:g}]"
    if not 0 < alpha < 1:
        return f"alpha must be above 0 and below 1, got {alpha:g}"
    if not (math.isfinite(baseline) and low <= baseline <= high):
        return f"the mean return of the record, {baseline:g}, is outside reward.bounds [{low:g}, {high:g}]"
    if not 0 < drop < 1:
        return f"drop must be above 0 and below 1, got {drop:g}"
    if baseline - drop * (high - low) <= low:
        fallen = f"{baseline:g} less {drop:g} of reward.bounds [{low:g}, {high:g}]"
        return f"no return lies below {fallen}: choose a smaller drop"
    return None


def begin(baseline: float, low: float, high: float, drop: float, alpha: float) -> str:
    """The state before the first unit, as compact JSON. `baseline`, `low` and `high` in the return's unit, `drop` as
    a share of high - low. Raises ValueError where `refuse` says why."""
    if why := refuse(baseline, low, high, drop, alpha):
        raise ValueError(why)
    limit = (baseline - low) / (high - low) - drop
    return _dump(
        {
            "low": low,
            "high": high,
            "limit": round(limit, 12),
            "alpha": alpha,
            "units": 0,
            "recent": None,
            "alarmed": False,
            "wealth": [0.0] * len(FRACTIONS),
        }
    )


def asks(state: str, like: str) -> bool:
    """Whether a state has asked the same as this one: same bounds, limit and alpha."""
    one, other = json.loads(state), json.loads(like)
    return all(one[part] == other[part] for part in ("low", "high", "limit", "alpha"))


def update(state: str, returns: Sequence[float]) -> str:
    """The state after further units, in the order of their starts. What is outside the bounds is clipped, NaN counts
    as the least."""
    told = json.loads(state)
    low, high, limit = told["low"], told["high"], told["limit"]
    wealth = np.array(told["wealth"])
    bets = FRACTIONS / (1 - limit)  # the largest one that a return of `high` does not bankrupt, and shares of it
    for value in returns:
        clipped = low if math.isnan(value) else min(max(float(value), low), high)
        scaled = (clipped - low) / (high - low)
        wealth = np.minimum((wealth + 1) * (1 + bets * (limit - scaled)), _CEILING)
        told["units"] += 1
        told["recent"] = _moved(told["recent"], clipped, told["units"])
        told["alarmed"] = told["alarmed"] or bool(wealth.mean() >= 1 / told["alpha"])
    return _dump(told | {"wealth": [float(f"{w:.{_DIGITS}g}") for w in wealth]})


def read(state: str) -> Alarm:
    """How it stands."""
    told = json.loads(state)
    return Alarm(float(np.mean(told["wealth"])), told["alarmed"], told["units"], told["recent"])


def _moved(recent: float | None, value: float, units: int) -> float:
    """A plain mean at first, then one that forgets exponentially."""
    before = value if recent is None else recent
    return float(f"{before + (value - before) / min(units, RECENT):.{_DIGITS}g}")


def _dump(told: dict[str, Any]) -> str:
    return json.dumps(told, separators=(",", ":"))
