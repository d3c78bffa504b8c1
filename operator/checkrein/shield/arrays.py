"""Values of a space as arrays: shapes, bounds, comparison, samples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checkrein.api.spaces import ACTION_MASK, Space

Array = NDArray[Any]
Observation = Array | dict[str, Array]
"""One value: a dict by member for a Dict space."""


def element_shape(space: Space) -> tuple[int, ...]:
    """Shape of one value. A Dict has none; its leaves have."""
    return (len(space.nvec),) if space.type == "MultiDiscrete" else tuple(space.shape)


def bounds(space: Space) -> tuple[Array, Array]:
    """Least and greatest value of each element, both of `element_shape`."""
    shape, dtype = element_shape(space), np.dtype(space.dtype)
    if space.type == "Discrete":
        start = space.start or 0
        return np.array(start, dtype), np.array(start + (space.n or 1) - 1, dtype)
    if space.type == "MultiDiscrete":
        return np.zeros(shape, dtype), np.array(space.nvec, dtype) - 1
    if space.type == "MultiBinary":
        return np.zeros(shape, dtype), np.ones(shape, dtype)
    low, high = (_spread(entries, shape, dtype) for entries in (space.low, space.high))
    return low, high


def _spread(entries: list[str], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Bounds as written in the interface, one for all elements or one for each."""
    values = np.array([dtype.type(entry) for entry in entries], dtype)
    return np.broadcast_to(values.reshape(shape if len(entries) > 1 else ()), shape)


def inside(floor: Iterable[float], values: Iterable[float], ceiling: Iterable[float]) -> bool:
    """Whether each value lies within its bounds; NaN lies nowhere."""
    for least, value, greatest in zip(floor, values, ceiling, strict=True):  # noqa: SIM110 - all() takes twice as long
        if not least <= value <= greatest:
            return False
    return True


def samples(space: Space, count: int, seed: int) -> list[Observation]:
    """Values for warm-up decisions: both corners of the space, its middle, then `count` drawn ones.

    Unbounded sides are cut at 1e3 and drawn from a normal distribution, as gymnasium's own sampling does. A mask allows
    all actions: one that allows none is no observation to act on.
    """
    if space.type != "Dict":
        return [*array_samples(space, count, seed)]
    drawn = {name: array_samples(leaf, count, [seed, i]) for i, (name, leaf) in enumerate(space.leaves.items())}
    if ACTION_MASK in drawn:
        drawn[ACTION_MASK] = [np.ones_like(mask) for mask in drawn[ACTION_MASK]]
    return [dict(zip(drawn, values, strict=True)) for values in zip(*drawn.values(), strict=True)]


def array_samples(space: Space, count: int, seed: int | list[int]) -> list[Array]:
    """As `samples`, for spaces other than Dict."""
    low, high = bounds(space)
    floor, ceiling = np.maximum(low.astype(np.float64), -1e3), np.minimum(high.astype(np.float64), 1e3)
    rng = np.random.default_rng(seed)
    drawn = [_draw(rng, low, high) for _ in range(count)]
    return [value.astype(low.dtype) for value in (floor, ceiling, (floor + ceiling) / 2, *drawn)]


def _draw(rng: np.random.Generator, low: Array, high: Array) -> Array:
    narrow = np.isfinite(low) & np.isfinite(high) & (high.astype(np.float64) - low < 1e6)
    uniform = rng.uniform(np.where(narrow, low, 0.0), np.where(narrow, high, 1.0))
    drawn = np.where(narrow, uniform, rng.normal(size=low.shape))
    clipped: Array = np.clip(drawn if low.dtype.kind == "f" else np.rint(drawn), low, high)
    return clipped
