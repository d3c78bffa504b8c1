"""Wealth of gamblers who bet against a null hypothesis: evidence that may be looked at whenever one likes.

Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS-B 86(1), 2024; for two samples
Shekhar and Ramdas, "Nonparametric two-sample testing by betting", IEEE Trans. Inf. Theory 70(2), 2024. If the mean of a
gain is at most 0 given the past, then wealth, the product of (1 + bet x gain), is a supermartingale, and by Ville's
inequality it ever reaches 1/alpha with probability at most alpha. Nine gamblers bet fixed fractions of the largest
bet that cannot ruin them; evidence is their average. For gains with two values this is a likelihood ratio, averaged
over nine alternatives: Robbins' (1970) mixture for coins is its twin with a Beta prior.

Where gains have no bounds but a variance: Wang and Ramdas, "Catoni-style confidence sequences for heavy-tailed mean
estimation", SPA 163, 2023. With Catoni's phi, exp(phi(x)) <= 1 + x + x^2/2, so exp(phi(bet x gain)) divided by
1 + bet^2 variance/2 has a mean of at most 1 where the mean gain is 0; and where it is below, as phi increases.

All arrays have any leading shape (one wealth for each of many rollouts, say); the last axis of wealth is the gambler's.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from checkrein.judge.bounded_mean import FRACTIONS

Array = NDArray[np.float64]
GAMBLERS = len(FRACTIONS)


def paid(gain: Array, loss: Array | float) -> Array:
    """What to add to log wealth, shape (..., 9), for gains of shape (...) that are never below -`loss` (known before).

    Where `loss` is infinite nobody bets.
    """
    with np.errstate(invalid="ignore"):
        relative = np.where(np.isinf(loss), 0.0, np.maximum(gain / np.asarray(loss), -1.0))
    grown: Array = np.log1p(np.multiply.outer(relative, FRACTIONS))
    return grown


def paid_heavy(gain: Array, variance: Array | float) -> Array:
    """The same for gains without bounds, of at most this variance given the past."""
    bets = np.multiply.outer(1 / np.sqrt(np.asarray(variance)), FRACTIONS)
    x = bets * np.asarray(gain)[..., np.newaxis]
    size = np.abs(x)
    grown: Array = np.sign(x) * np.log1p(size + size * size / 2) - np.log1p(bets * bets * _expand(variance) / 2)
    return grown


def evidence(log_wealth: Array) -> Array:
    """Log of the gamblers' average wealth, shape (...), from shape (..., 9)."""
    averaged: Array = np.logaddexp.reduce(log_wealth, axis=-1) - math.log(GAMBLERS)
    return averaged


def still_needed(log_wealth: Array, units: int, alpha: float, most: float = 1000.0) -> int | None:
    """Units that are still needed for 1/alpha if all goes on as so far. None: never, or far too many."""
    target = -math.log(alpha)
    if units < 1 or evidence(log_wealth * most) < target:
        return None
    enough, short = most, 0.0
    for _ in range(30):  # evidence rises with the ratio once it is above 0
        ratio = (enough + short) / 2
        if evidence(log_wealth * ratio) >= target:
            enough = ratio
        else:
            short = ratio
    return max(0, math.ceil(units * (enough - 1)))


def _expand(value: Array | float) -> Array:
    return np.asarray(value, dtype=np.float64)[..., np.newaxis]
