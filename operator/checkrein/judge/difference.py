"""The difference of two means, of episodes that were played once each: for people to look at, after the fact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from checkrein.judge.bounded_mean import lower_bound


def difference(
    ours: Sequence[float], theirs: Sequence[float], bounds: tuple[float, float] | None, alpha: float = 0.05
) -> tuple[float, float] | None:
    """An interval that holds mean(ours) - mean(theirs) with probability at least 1 - alpha.

    Within `bounds` of any value it needs no further assumption (`bounded_mean`; values beyond count as the bound).
    Without them it is Welch's (1947) with the normal quantile: right of large samples only. None of fewer than two.
    """
    if min(len(ours), len(theirs)) < 2:
        return None
    if bounds is None:
        return _welch(np.asarray(ours, np.float64), np.asarray(theirs, np.float64), alpha)
    (low, high), each = bounds, alpha / 4
    a, b = (np.clip(values, low, high) for values in (ours, theirs))

    def least(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        return lower_bound(list(values), low, high, each)

    def most(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        return low + high - lower_bound(list(low + high - values), low, high, each)

    return least(a) - most(b), most(a) - least(b)


def _welch(
    a: np.ndarray[tuple[int], np.dtype[np.float64]], b: np.ndarray[tuple[int], np.dtype[np.float64]], alpha: float
) -> tuple[float, float]:
    width = NormalDist().inv_cdf(1 - alpha / 2) * math.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    middle = float(a.mean() - b.mean())
    return middle - width, middle + width
