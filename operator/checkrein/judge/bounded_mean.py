"""A lower confidence bound for the mean of bounded observations, right whenever one looks.

Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS-B 86(1), 2024: for each
candidate mean m a gambler bets against "the mean is at most m" and wealth stays a supermartingale if that is true, so
by Ville's inequality it ever reaches 1/alpha with probability at most alpha. The bound is the greatest m whose
gambler got that rich. Bets are fixed fractions of the largest admissible one, wealth their average (a mixture).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Small ones win against means that are close by, large ones with few observations.
FRACTIONS = np.array([0.02, 0.04, 0.08, 0.15, 0.25, 0.4, 0.6, 0.8, 0.95])
_HALVINGS = 50


def spent_alpha(alpha: float, k: int) -> float:
    """What the k-th evaluation (k >= 1) may spend of alpha: the sum over all k is alpha."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be above 0 and below 1, got {alpha}")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return alpha * 6 / (math.pi**2 * k**2)


def lower_bound(values: Sequence[float], low: float, high: float, alpha: float) -> float:
    """With probability at least 1 - alpha the mean is no lower, at however many values one stops and looks.

    `values` are independent given the past, of one mean, within [low, high]. The order does not matter. No values,
    or none above `low`: `low`. Raises ValueError on a value outside the bounds (clipping is the caller's to decide).
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be above 0 and below 1, got {alpha}")
    scaled = _scaled(values, low, high)
    if not scaled.any():
        return low
    below, above = 0.0, 1.0
    for _ in range(_HALVINGS):  # wealth falls as m grows
        middle = (below + above) / 2
        if _log_wealth(scaled, middle) >= -math.log(alpha):
            below = middle
        else:
            above = middle
    return min(low + below * (high - low), high)


def _scaled(values: Sequence[float], low: float, high: float) -> NDArray[np.float64]:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"bounds must be finite and low below high, got [{low}, {high}]")
    array = np.asarray(values, dtype=np.float64)
    outside = ~((array >= low) & (array <= high))  # true for NaN as well
    if outside.any():
        at = int(outside.argmax())
        raise ValueError(f"values[{at}] is {array[at]}, outside the bounds [{low}, {high}]")
    scaled: NDArray[np.float64] = (array - low) / (high - low)
    return scaled


def _log_wealth(scaled: NDArray[np.float64], mean: float) -> float:
    """Log of the mixture's wealth against "the mean is at most `mean`"; the largest admissible bet is 1/mean."""
    payoffs = np.log1p(np.multiply.outer(FRACTIONS, scaled / mean - 1))
    return float(np.logaddexp.reduce(payoffs.sum(axis=1))) - math.log(len(FRACTIONS))
