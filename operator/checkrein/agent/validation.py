"""What crosses the border of a policy, checked: observations from callers, actions from networks.

An observation is read in the space's own dtype and must lie inside the space. Outside it nothing is known of
the policy, and a value there mostly means a broken sensor or the wrong unit: refusing says so, acting hides it.
Bounds are compared after rounding to the dtype, so what gymnasium produced always passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec
import numpy as np

from checkrein.api.spaces import Space
from checkrein.shield.arrays import Array, Observation, bounds, element_shape, inside

SHORT = 32
"""Up to so many elements Python's own comparisons are faster than numpy's: 1 us instead of 3 for four numbers."""


SEQUENCES = (list, tuple)


class SpaceError(ValueError):
    """A value that does not belong to its space.

    `index` names the element, in C order, after its member's name in a Dict; None: the whole value.
    """

    def __init__(self, message: str, index: tuple[int | str, ...] | None = None) -> None:
        super().__init__(message)
        self.index = index

    @property
    def path(self) -> str:
        """What follows `observation` in the element's name: `[2]`, `.camera[0][1]`, or nothing."""
        return "".join(f".{part}" if isinstance(part, str) else f"[{part}]" for part in self.index or ())


def json_type(space: Space) -> Any:
    """The type by which msgspec decodes one value: right nesting and lengths, so that an error names the element."""
    if space.type == "Dict":
        fields = [(f"member{i}", json_type(leaf)) for i, leaf in enumerate(space.leaves.values())]
        names = {field: name for (field, _), name in zip(fields, space.leaves, strict=True)}
        return msgspec.defstruct("Observation", fields, rename=names, forbid_unknown_fields=True, frozen=True)
    floating = np.issubdtype(np.dtype(space.dtype), np.floating)
    kind: Any = float if floating else Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    for extent in reversed(element_shape(space)):
        kind = Annotated[list[kind], msgspec.Meta(min_length=extent, max_length=extent)]
    return kind


def checker(space: Space) -> Callable[[Any], Observation]:
    """A function from a decoded value to an array of the space's dtype and `element_shape`. It raises SpaceError.

    Of a Dict space it takes what `json_type` decodes or a mapping, and gives a dict.
    """
    return _dict_checker(space) if space.type == "Dict" else array_checker(space)


def array_checker(space: Space) -> Callable[[Any], Array]:
    """As `checker`, for spaces other than Dict."""
    low, high = bounds(space)
    shape, dtype = element_shape(space), low.dtype
    least, greatest = _representable(low, np.maximum), _representable(high, np.minimum)

    def check(value: Any) -> Array:
        array = _floats(value, dtype) if dtype.kind == "f" else _whole(value, dtype)
        if array.shape != shape:
            raise SpaceError(f"an array of shape {list(array.shape)} is not in {space.describe()}")
        if ((least <= array) & (array <= greatest)).all():  # false for NaN and infinities too
            return array
        if (infinite := ~np.isfinite(array)).any():
            raise _outside(array, infinite, f"is not a finite {dtype} number")
        raise _outside(array, (array < low) | (array > high), f"is outside {space.describe()}", low, high)

    return _short_checker(check, least, greatest) if len(shape) < 2 and 0 < low.size <= SHORT else check


def _short_checker(check: Callable[[Any], Array], least: Array, greatest: Array) -> Callable[[Any], Array]:
    """A quick yes to what lies inside before it is rounded to the dtype; `check` says the rest."""
    dtype, flat = least.dtype, least.ndim == 1
    kinds = {float, int} if dtype.kind == "f" else {int}
    floor, ceiling, size = least.ravel().tolist(), greatest.ravel().tolist(), least.size

    def check_short(value: Any) -> Array:
        values = value if flat else (value,)
        plain = type(values) in SEQUENCES and len(values) == size and kinds.issuperset(map(type, values))
        return np.array(value, dtype) if plain and inside(floor, values, ceiling) else check(value)

    return check_short


def _dict_checker(space: Space) -> Callable[[Any], dict[str, Array]]:
    checks = {name: array_checker(leaf) for name, leaf in space.leaves.items()}

    def check(value: Any) -> dict[str, Array]:
        members = (
            value if isinstance(value, Mapping) else dict(zip(checks, msgspec.structs.astuple(value), strict=True))
        )
        if members.keys() != checks.keys():
            raise SpaceError(f"members {', '.join(map(str, members))} are not those of {space.describe()}")
        return {name: _member(name, check_leaf, members[name]) for name, check_leaf in checks.items()}

    return check


def _member(name: str, check: Callable[[Any], Array], value: Any) -> Array:
    try:
        return check(value)
    except SpaceError as error:
        raise SpaceError(str(error), (name, *(error.index or ()))) from None


def _representable(bound: Array, limit: np.ufunc) -> Array:
    """The bound, or where a side is open the last number of its dtype: a comparison then refuses infinities too."""
    if bound.dtype.kind != "f":
        return bound
    ends = np.finfo(bound.dtype)
    limited: Array = limit(bound, ends.min if limit is np.maximum else ends.max)
    return limited


def _floats(value: Any, dtype: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore"):  # what overflows the dtype is found as an infinity
        return np.asarray(value, dtype)


def _whole(value: Any, dtype: np.dtype[Any]) -> Array:
    """Integers, checked to be some and to fit before they are narrowed."""
    given = np.asarray(value)
    wide = given.astype(np.int64, copy=False) if given.size == 0 or given.dtype.kind in "iub" else None
    if wide is None:
        raise SpaceError(f"{given.dtype} numbers are no whole {dtype} numbers")
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
        within = ((lowest <= array) & (array <= highest)).all()  # false for NaN too
        if not within or (dtype.kind != "f" and array.dtype.kind == "f" and (array != np.rint(array)).any()):
            raise SpaceError(f"the action {array.tolist()!s:.80} is outside {space.describe()}")
        exact = array.astype(dtype, copy=False)
        return (np.clip(exact, low, high) if wide else exact).tolist()

    if len(shape) > 1 or not 0 < low.size <= SHORT:
        return read
    floor, ceiling, size = low.ravel().tolist(), high.ravel().tolist(), low.size
    kind = "f" if dtype.kind == "f" else "i"

    def read_short(output: Array) -> Any:
        if (
            output.size == size
            and output.dtype.kind == kind
            and (kind == "i" or output.dtype.itemsize <= dtype.itemsize)
        ):
            values = output.ravel().tolist()
            if inside(floor, values, ceiling):
                return values if shape else values[0]
        return read(output)

    return read_short
