"""What crosses the border of a policy, checked: observations from callers, actions from networks.

An observation is read in the space's own dtype and must lie inside the space. Outside it nothing is known of
the policy, and a value there mostly means a broken sensor or the wrong unit: refusing says so, acting hides it.
Bounds are compared after rounding to the dtype, so what gymnasium produced always passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from checkrein.api.spaces import Space

Array = NDArray[Any]


class SpaceError(ValueError):
    """A value that does not belong to its space. `index` names the element, in C order; None: the whole value."""

    def __init__(self, message: str, index: tuple[int, ...] | None = None) -> None:
        super().__init__(message)
        self.index = index


def element_shape(space: Space) -> tuple[int, ...]:
    """Shape of one value."""
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


def json_type(space: Space) -> Any:
    """The type by which msgspec decodes one value: right nesting and lengths, so that an error names the element."""
    floating = np.issubdtype(np.dtype(space.dtype), np.floating)
    kind: Any = float if floating else Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    for extent in reversed(element_shape(space)):
        kind = Annotated[list[kind], msgspec.Meta(min_length=extent, max_length=extent)]
    return kind


def checker(space: Space) -> Callable[[Any], Array]:
    """A function from a decoded value to an array of the space's dtype and `element_shape`. It raises SpaceError."""
    low, high = bounds(space)
    dtype = low.dtype
    unbounded = not np.isfinite(low).any() and not np.isfinite(high).any()

    def check(value: Any) -> Array:
        with np.errstate(over="ignore"):  # what overflows the dtype is found below
            array: Array = np.asarray(value, dtype) if dtype.kind == "f" else _whole(value, dtype)
        if not math.isfinite(array.sum(dtype=np.float64)) and not np.isfinite(array).all():
            raise _outside(array, ~np.isfinite(array), f"is not a finite {dtype} number")
        if unbounded or ((low <= array) & (array <= high)).all():
            return array
        raise _outside(array, (array < low) | (array > high), f"is outside {space.describe()}", low, high)

    return check


def _whole(value: Any, dtype: np.dtype[Any]) -> Array:
    """Integers, checked to fit before they are narrowed."""
    wide = np.asarray(value, np.int64)
    limits = np.iinfo(dtype)
    if (wide < limits.min).any() or (wide > limits.max).any():
        raise _outside(wide, (wide < limits.min) | (wide > limits.max), f"is not a {dtype} number")
    return wide.astype(dtype)


def _outside(array: Array, where: Array, what: str, low: Array | None = None, high: Array | None = None) -> SpaceError:
    index = tuple(int(i) for i in np.argwhere(where)[0])
    between = "" if low is None or high is None else f", whose bounds here are {low[index]} and {high[index]}"
    return SpaceError(f"{array[index]} {what}{between}", index)


def action_reader(space: Space) -> Callable[[Array], Any]:
    """A function from the network's output for one observation to a JSON-ready action. It raises SpaceError.

    Networks compute in float32: the bounds of a float64 space are held against it as float32 rounds them, and what
    the rounding put outside is moved back onto the bound.
    """
    low, high = bounds(space)
    shape, dtype = element_shape(space), low.dtype
    wide = dtype == np.float64
    lowest, highest = (bound.astype(np.float32) if wide else bound for bound in (low, high))

    def read(output: Array) -> Any:
        if output.size != low.size:
            raise SpaceError(f"the action has {output.size} elements, {space.describe()} has {low.size}")
        array = output.reshape(shape)
        inside = ((lowest <= array) & (array <= highest)).all()  # false for NaN too
        if not inside or (dtype.kind != "f" and array.dtype.kind == "f" and (array != np.rint(array)).any()):
            raise SpaceError(f"the action {array.tolist()!s:.80} is outside {space.describe()}")
        exact = array.astype(dtype, copy=False)
        return (np.clip(exact, low, high) if wide else exact).tolist()

    return read


def samples(space: Space, count: int, seed: int) -> list[Array]:
    """Values for warm-up decisions: both corners of the space, its middle, then `count` drawn ones.

    Unbounded sides are cut at 1e3 and drawn from a normal distribution, as gymnasium's own sampling does.
    """
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
