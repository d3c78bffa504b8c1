"""Quantiles with intervals that are right at all times together, for reports of latencies.

Howard and Ramdas, "Sequential estimation of quantiles with applications to A/B testing and best-arm identification",
Bernoulli 28(3), 2022, theorem 1: with probability at least 1 - alpha, the p-quantile always lies between the sample
quantiles of p - u and p + u.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def quantile_interval(values: Sequence[float], p: float, alpha: float = 0.05) -> tuple[float, float] | None:
    """Bounds of the p-quantile of what `values` are independent draws of. Infinite where too few say nothing yet.

    None without values. Raises ValueError where p or alpha is not between 0 and 1.
    """
    if not (0 < p < 1 and 0 < alpha < 1):
        raise ValueError(f"p and alpha must be above 0 and below 1, got {p} and {alpha}")
    n = len(values)
    if n == 0:
        return None
    scale = (1.4 * math.log(math.log(2.1 * n)) + math.log(10 / alpha)) / n
    width = 1.5 * math.sqrt(p * (1 - p) * scale) + 0.8 * scale
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    below, above = math.ceil(n * (p - width)), math.floor(n * (p + width)) + 1
    low = float(ordered[below - 1]) if below >= 1 else -math.inf
    high = float(ordered[above - 1]) if above <= n else math.inf
    return low, high
