"""Tensors of the Open Inference Protocol: JSON, flat or nested, or raw bytes behind the JSON (binary extension)."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from checkrein.agent.problems import invalid
from checkrein.api.spaces import Space
from checkrein.shield.arrays import Array, element_shape

Datatype = Literal["BOOL", "UINT8", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64"]
BYTES = "BYTES"
BINARY_SIZE = "binary_data_size"
_NUMPY: dict[str, str] = {
    "BOOL": "?",
    "UINT8": "u1",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
_BY_DTYPE = {np.dtype(code): name for name, code in _NUMPY.items()}
_LENGTH_BYTES = 4  # before each element of a BYTES tensor
Extent = Annotated[int, msgspec.Meta(ge=0, le=2**31)]


class Input(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One tensor of a request."""

    name: str
    shape: Annotated[list[Extent], msgspec.Meta(min_length=1, max_length=9)]
    datatype: Datatype
    data: list[Any] | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Any] = {}


def datatype(space: Space) -> str:
    """The protocol's name of a space's elements; FP64 or INT64 where it has none."""
    dtype = np.dtype(space.dtype)
    return _BY_DTYPE.get(dtype, "FP64" if dtype.kind == "f" else "INT64")


def shape(space: Space) -> list[int]:
    """Of a batch; -1 is its length."""
    return [-1, *element_shape(space)]


class Tail:
    """The bytes behind the JSON, taken from the front by one input after the other."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def take(self, size: object, field: str) -> bytes:
        """Raises Problem."""
        if type(size) is not int or not 0 <= size <= len(self._content):
            raise invalid("wrong-shape", f"{field}: {BINARY_SIZE} is not the number of bytes that follow", field)
        taken, self._content = self._content[:size], self._content[size:]
        return taken

    def end(self) -> None:
        """Nothing may be left. Raises Problem."""
        if self._content:
            raise invalid("wrong-shape", f"{len(self._content)} bytes follow that belong to no input", "inputs")


def rows(tensor: Input, space: Space, tail: Tail) -> list[Any]:
    """The batch as JSON-ready values of the space, which are still to be checked against it. Raises Problem."""
    field, inner = tensor.name, element_shape(space)
    if tuple(tensor.shape[1:]) != inner:
        raise invalid("wrong-shape", f"{field}: shape {tensor.shape} is not {shape(space)}", field)
    unfit = tensor.datatype == "BOOL" if np.dtype(space.dtype).kind == "f" else tensor.datatype.startswith("FP")
    if unfit:
        raise invalid("wrong-shape", f"{field}: {tensor.datatype} does not become {datatype(space)}", field)
    values = _from_bytes(tensor, tail) if BINARY_SIZE in tensor.parameters else _from_json(tensor)
    if not np.isfinite(values).all():
        raise invalid("not-finite", f"{field}: NaN and infinities are not accepted; send finite values", field)
    if values.dtype.kind == "b":
        values = values.astype(np.int64)
    result: list[Any] = values.reshape(tensor.shape).tolist()
    return result


def _from_bytes(tensor: Input, tail: Tail) -> Array:
    data = tail.take(tensor.parameters[BINARY_SIZE], tensor.name)
    dtype = np.dtype(_NUMPY[tensor.datatype])
    if len(data) != math.prod(tensor.shape) * dtype.itemsize:
        detail = f"{tensor.name}: {len(data)} bytes are no {tensor.datatype} tensor of shape {tensor.shape}"
        raise invalid("wrong-shape", detail, tensor.name)
    return np.frombuffer(data, dtype)


def _from_json(tensor: Input) -> Array:
    name = tensor.name
    if tensor.data is msgspec.UNSET:
        raise invalid("missing-field", f"{name}: data is missing", name)
    nested = bool(tensor.data) and isinstance(tensor.data[0], list)
    extents = tensor.shape if nested else [math.prod(tensor.shape)]
    elements: list[Any] = []
    if not _flatten(tensor.data, extents, elements):
        raise invalid("wrong-shape", f"{name}: data does not fill shape {tensor.shape}", name)
    return _array(tensor, elements)


def _flatten(data: Any, extents: list[int], into: list[Any]) -> bool:
    """Whether the data is nested as the extents say; its elements in C order."""
    if not isinstance(data, list) or len(data) != extents[0]:
        return False
    if len(extents) == 1:
        into.extend(data)
        return True
    return all(_flatten(part, extents[1:], into) for part in data)


def _array(tensor: Input, elements: list[Any]) -> Array:
    """Elements checked one by one: numpy would read strings as numbers."""
    dtype = np.dtype(_NUMPY[tensor.datatype])
    kinds: dict[str, set[type]] = {"f": {int, float}, "b": {bool}}
    allowed = kinds.get(dtype.kind, {int})
    if not allowed.issuperset(map(type, elements)):
        raise invalid("wrong-shape", f"{tensor.name}: an element of data is no {tensor.datatype}", tensor.name)
    try:
        return np.array(elements, np.float64 if dtype.kind == "f" else dtype)
    except OverflowError as error:
        detail = f"{tensor.name}: an element of data is beyond {tensor.datatype}"
        raise invalid("wrong-shape", detail, tensor.name) from error


def written(name: str, values: Array, kind: str, binary: bool, tail: list[bytes]) -> dict[str, Any]:
    """One tensor of an answer; where it is binary its bytes go behind the others in `tail`."""
    head = {"name": name, "shape": list(values.shape), "datatype": kind}
    if not binary:
        return head | {"data": values.ravel().tolist()}
    data = _strings(values) if kind == BYTES else np.ascontiguousarray(values, _NUMPY[kind]).tobytes()
    tail.append(data)
    return head | {"parameters": {BINARY_SIZE: len(data)}}


def _strings(values: Array) -> bytes:
    encoded = [str(value).encode() for value in values.ravel()]
    return b"".join(len(value).to_bytes(_LENGTH_BYTES, "little") + value for value in encoded)
