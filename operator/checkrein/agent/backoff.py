"""How long to wait before the next try."""

from __future__ import annotations

import random


def delay(failures: int, rng: random.Random, *, first: float = 0.2, limit: float = 15.0) -> float:
    """Seconds before trying again after `failures` (>= 1) in a row: doubling, with the lower half drawn at random,
    so that replicas that failed together do not come back together."""
    ceiling = min(limit, first * 2.0 ** min(failures - 1, 30))
    return ceiling * rng.uniform(0.5, 1.0)
