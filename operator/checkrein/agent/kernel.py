"""The forward pass. The rest of the agent knows only `Kernel`, so that a faster one can stand in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort

from checkrein.agent.validation import Array, element_shape
from checkrein.api.spaces import Space

INPUT = "observation"
ACTION = "action"
_DTYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}


class Kernel(Protocol):
    """Computes actions, one observation at a time."""

    def act(self, observation: Array) -> Array:
        """The action, of any shape with the action space's number of elements, for one observation."""


@dataclass(frozen=True)
class Port:
    """One input or output of a graph. A dimension is a number, or a name (or None) where any length fits."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]

    def inner(self, space: Space) -> tuple[int, ...]:
        """Shape of one value in this port: the space's where the graph has its rank, else the graph's own."""
        own, elements = self.shape[1:], element_shape(space)
        if len(own) == len(elements):
            return elements
        return tuple(d if isinstance(d, int) else 1 for d in own)

    def holds(self, space: Space) -> bool:
        """Whether a batch of one value of the space fits in."""
        if not self.shape or (isinstance(self.shape[0], int) and self.shape[0] != 1):
            return False
        inner = self.inner(space)
        fixed = zip(self.shape[1:], inner, strict=True)
        return math.prod(inner) == space.size and all(not isinstance(d, int) or d == i for d, i in fixed)


def misfit(inputs: list[Port], outputs: list[Port], observation: Space, action: Space) -> str:
    """Why a graph does not fit the spaces, as a sentence; empty where it does."""
    if [port.name for port in inputs] != [INPUT]:
        return f"the graph has inputs {[p.name for p in inputs]}; it needs exactly one, named {INPUT!r}"
    (entry,), exits = inputs, [port for port in outputs if port.name == ACTION]
    if not exits:
        return f"the graph has outputs {[p.name for p in outputs]}; it needs one named {ACTION!r}"
    for port, space in ((entry, observation), (exits[0], action)):
        if port.type not in _DTYPES:
            return f"{port.name} of the graph is a {port.type}; it must be one of {', '.join(_DTYPES)}"
        if not port.holds(space):
            return f"{port.name} of the graph has shape {list(port.shape)}, which does not hold {space.describe()}"
    return ""


class InterfaceError(ValueError):
    """The graph does not take these observations or give these actions."""


class OnnxKernel:
    """ONNX Runtime on one thread: a decision is too short to share, and replicas share the node.

    Raises InterfaceError where the graph does not fit, and ONNX Runtime's own exceptions where it is none.
    """

    def __init__(self, model: bytes, observation: Space, action: Space) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        inputs, outputs = (
            [Port(p.name, p.type, tuple(p.shape)) for p in ports]
            for ports in (self._session.get_inputs(), self._session.get_outputs())
        )
        if why := misfit(inputs, outputs, observation, action):
            raise InterfaceError(why)
        self._dtype: np.dtype[Any] = np.dtype(_DTYPES[inputs[0].type])
        self._shape = (1, *inputs[0].inner(observation))

    def act(self, observation: Array) -> Array:
        """The action for one observation."""
        batch = observation.astype(self._dtype, copy=False).reshape(self._shape)
        return np.asarray(self._session.run([ACTION], {INPUT: batch})[0])
