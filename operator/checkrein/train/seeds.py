"""Seeds of training and evaluation, disjoint by construction.

Training draws from [0, 2**30), evaluation from [2**30, 2**31); both by SHA-256 over what identifies the use, so
that the same job trains the same way and no policy is judged on episodes that it has seen.
"""

from __future__ import annotations

import hashlib
from itertools import count, islice

import numpy as np

HALF = 2**30
# A vectorised environment seeds its copies with seed, seed + 1, ...
MOST_COPIES = 1024


def initial_seed(seed: int) -> int:
    """Seed of the networks' first weights: not the one of what is sampled afterwards, or the two would be alike."""
    return _number("initialize", seed) % HALF


def training_seed(seed: int, step: int) -> int:
    """Seed of what follows the seam at `step`, for a job whose `spec.seed` is `seed`."""
    return _number("train", seed, step) % (HALF - MOST_COPIES)


def evaluation_seeds(uid: str, attempt: int, episodes: int) -> list[int]:
    """Distinct seeds, one for each episode."""
    draws = (HALF + _number("evaluate", uid, attempt, index) % HALF for index in count())
    return list(islice(dict.fromkeys(islice(draws, 2 * episodes)), episodes))


def acting_generator(seed: int) -> np.random.Generator:
    """What a policy draws from in the evaluation episode with this seed: not the numbers that the environment draws."""
    return np.random.default_rng(_number("act", seed))


def _number(*parts: str | int) -> int:
    """64 bits of SHA-256 over the parts, each with its length so that no two lists read alike."""
    text = "".join(f"{len(str(part))}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
