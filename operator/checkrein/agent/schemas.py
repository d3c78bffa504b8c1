"""Spaces as JSON Schema (2020-12): the numbers that JSON may carry, so exactly those that are accepted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from checkrein.api.spaces import Space
from checkrein.shield.arrays import Array, bounds

JsonSchema = dict[str, Any]
MOST_ITEMS = 1024
"""Elements with bounds of their own that are written out one by one; above, the widest bounds stand for all."""


def observation_schema(space: Space, *, bounded: bool = True) -> JsonSchema:
    """Of what callers send. Not `bounded`: only its shape and kind."""
    if space.type == "Dict":
        members = {name: observation_schema(leaf, bounded=bounded) for name, leaf in space.leaves.items()}
        return {"type": "object", "properties": members, "required": list(members), "additionalProperties": False}
    low, high = bounds(space)
    return _array(*(_edges(low, high) if bounded else _anything(low)))


def action_schema(space: Space) -> JsonSchema:
    """Of what callers get."""
    low, high = (_closed(bound) for bound in bounds(space))
    return _array(low.astype(np.float64) if low.dtype.kind == "f" else low, high)


def _array(low: Array, high: Array) -> JsonSchema:
    """Nested as the shape says; written out by element where bounds differ."""
    if low.ndim == 0:
        kind = "number" if low.dtype.kind == "f" else "integer"
        return {"type": kind, "minimum": low.item(), "maximum": high.item()}
    length = {"type": "array", "minItems": len(low), "maxItems": len(low)}
    if len(low) == 0:
        return length
    if (low == low[:1]).all() and (high == high[:1]).all():
        return length | {"items": _array(low[0], high[0])}
    if low.size > MOST_ITEMS:
        return length | {"items": _array(low.min(axis=0), high.max(axis=0))}
    return length | {"prefixItems": [_array(*pair) for pair in zip(low, high, strict=True)], "items": False}


def _closed(bound: Array) -> Array:
    """With the last number of the dtype for an open side."""
    if bound.dtype.kind != "f":
        return bound
    ends = np.finfo(bound.dtype)
    return np.clip(bound, ends.min, ends.max)


def _edges(low: Array, high: Array) -> tuple[Array, Array]:
    """The least and the greatest numbers that rounding to the dtype brings inside."""
    if low.dtype.kind != "f" or low.dtype == np.float64:
        return _closed(low), _closed(high)
    least = np.array([-_edge(-value) for value in _closed(low).ravel()]).reshape(low.shape)
    return least, np.array([_edge(value) for value in _closed(high).ravel()]).reshape(high.shape)


def _edge(bound: np.floating[Any]) -> float:
    """The greatest double that rounds to `bound` or below."""
    kind, value = type(bound), float(bound)
    with np.errstate(over="ignore"):  # there is no next number after the last one
        above = float(np.nextafter(bound, kind(math.inf)))
        step = above - value if math.isfinite(above) else value - float(np.nextafter(bound, kind(0)))
        middle = value + step / 2
        return middle if kind(middle) <= bound else math.nextafter(middle, -math.inf)


def _anything(low: Array) -> tuple[Array, Array]:
    """As wide as messages are read: any double, any signed 64-bit integer."""
    ends: Any = np.finfo(np.float64) if low.dtype.kind == "f" else np.iinfo(np.int64)
    return np.full(low.shape, ends.min), np.full(low.shape, ends.max)
