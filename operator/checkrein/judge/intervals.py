"""Intervals for a mean that are right at all times together, for people to look at. Each keeps seven numbers.

Arrays have any leading shape; the last axis of a series holds its numbers. `alpha` is of both sides together.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from checkrein.judge.betting import Array

NUMBERS = 7
ASYMPTOTIC_FROM = 50
"""Data before which an asymptotic sequence says nothing."""
_LARGEST_BET = 0.5
_TIGHTEST_AT = 200  # data at which asymptotic sequences are tightest


def empty(shape: tuple[int, ...] = ()) -> Array:
    """A series without data."""
    return np.zeros((*shape, NUMBERS))


def bernstein(series: Array, x: Array, least: Array | float, most: Array | float, alpha: float) -> Array:
    """Adds a datum that was known to lie in [least, most].

    Predictable plug-in empirical Bernstein: Waudby-Smith and Ramdas (2024, theorem 2), in the datum's own unit.
    """
    n, total, squares, weight, weighted, penalty, _ = np.moveaxis(series, -1, 0)
    width, middle = np.asarray(most) - least, (np.asarray(most) + least) / 2
    mean, variance = (middle + total) / (n + 1), (width * width / 4 + squares) / (n + 1)
    bet = np.sqrt(2 * math.log(2 / alpha) / (variance * (n + 1) * np.log(n + 2)))
    bet = np.minimum(bet, _LARGEST_BET / width)
    ahead = bet * width
    return np.stack(
        [
            n + 1,
            total + x,
            squares + (x - (middle + total + x) / (n + 2)) ** 2,
            weight + bet,
            weighted + bet * x,
            penalty + (x - mean) ** 2 * (-np.log1p(-ahead) - ahead) / (width * width),
            np.zeros_like(n),
        ],
        axis=-1,
    )


def bernstein_bound(series: Array, side: Literal[-1, 1], alpha: float) -> Array:
    """The lower (-1) or the upper bound (1). Infinite without data."""
    _, _, _, weight, weighted, penalty, _ = np.moveaxis(series, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        bound: Array = (weighted + side * (math.log(2 / alpha) + penalty)) / weight
    return np.where(weight > 0, bound, side * np.inf)


def heavy(series: Array, x: Array, variance: Array | float, alpha: float) -> Array:
    """Adds a datum without bounds, of at most this variance.

    Self-normalized: Wang and Ramdas (2023, section 5), after Delyon (2009): the mean of exp(y - y^2/6) is at most
    1 + variance/3. A Catoni interval would need all data at hand; this one needs sums.
    """
    n, weight, weighted, squares, squares_x, squares_xx, penalty = np.moveaxis(series, -1, 0)
    variance = np.asarray(variance, dtype=np.float64)
    bet = np.sqrt(2 * math.log(2 / alpha) / (variance * (n + 1) * np.log(n + 2)))
    square = bet * bet
    return np.stack(
        [
            n + 1,
            weight + bet,
            weighted + bet * x,
            squares + square,
            squares_x + square * x,
            squares_xx + square * x * x,
            penalty + square * variance,
        ],
        axis=-1,
    )


def heavy_bound(series: Array, side: Literal[-1, 1], alpha: float) -> Array:
    """The lower (-1) or the upper bound (1); infinite while there is too little data for one.

    What is excluded lies between the roots of a quadratic; the root near the mean is the bound. Means beyond the far
    one, more than six standard deviations over the bet away, are left out as well.
    """
    _, weight, weighted, squares, squares_x, squares_xx, penalty = np.moveaxis(series, -1, 0)
    a = squares / 6
    b = weight + side * squares_x / 3  # of a mean counted from the other side where side is 1
    c = -side * weighted - squares_xx / 6 - penalty / 3 - math.log(2 / alpha)
    with np.errstate(divide="ignore", invalid="ignore"):
        root = (-b + np.sqrt(b * b + 4 * a * c)) / (2 * a)
    return np.where(np.isfinite(root), -side * root, side * np.inf)


def moments(series: Array, x: Array) -> Array:
    """Adds a datum to count, mean, and sum of squared deviations."""
    n, mean, deviations, *rest = np.moveaxis(series, -1, 0)
    n = n + 1
    after = mean + (x - mean) / n
    return np.stack([n, after, deviations + (x - mean) * (x - after), *rest], axis=-1)


def asymptotic_bound(series: Array, side: Literal[-1, 1], alpha: float, one_sided: bool = False) -> Array:
    """The lower (-1) or the upper bound (1) from `moments`; infinite before ASYMPTOTIC_FROM data.

    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence
    sequences", Annals of Statistics 52(6), 2024: theorem 2.2, and its one-sided form. Right for many data only: rare
    ruin that has not been seen yet is not believed in.
    """
    n, mean, deviations, *_ = np.moveaxis(series, -1, 0)
    log_alpha = -2 * math.log(alpha)
    rho = (log_alpha + math.log(log_alpha + 1)) / _TIGHTEST_AT  # squared
    with np.errstate(divide="ignore", invalid="ignore"):
        clock = n * rho + 1
        inside = 1 + np.sqrt(clock) / (2 * alpha) if one_sided else np.sqrt(clock) / alpha
        width = np.sqrt(deviations / n) * np.sqrt(2 * clock * np.log(inside) / (n * n * rho))
        bound: Array = mean + side * width
    return np.where(n >= ASYMPTOTIC_FROM, bound, side * np.inf)
