"""Whether a graph fits an interface: names, types and shapes of its inputs and outputs.

Inputs: `observation`, or `observation.KEY` for each key of a Dict space; optionally `state.0`, `state.1`, ...
Outputs: `action`; optionally `value`, `logits`, `q_values`, `mean`, `log_std`; `next_state.0`, ... one for each state.
The first dimension of each is the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from checkrein.api.spaces import Interface, Space
from checkrein.shield.arrays import element_shape

ACTION = "action"
STATE = "state."
NEXT = "next_state."
DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


class InterfaceError(ValueError):
    """The graph does not take these observations or give these actions."""


def key(name: str) -> str:
    """The input that takes an observation, or the part of one that a Dict space names so."""
    return f"observation.{name}" if name else "observation"


def entries(interface: Interface) -> dict[str, Space]:
    """The inputs that take an observation, and what each holds."""
    return {key(name): leaf for name, leaf in interface.observation.leaves.items()}


@dataclass(frozen=True)
class Port:
    """One input or output of a graph. A dimension is a number, or a name (or None) where any length fits."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]

    def inner(self, space: Space | None) -> tuple[int, ...]:
        """Shape of one value in this port: the space's where the graph has its rank, else the graph's own."""
        own = self.shape[1:]
        if space is not None and len(own) == len(elements := element_shape(space)):
            return elements
        return tuple(d if isinstance(d, int) else 1 for d in own)

    def holds(self, space: Space) -> bool:
        """Whether a batch of one value of the space fits in."""
        if not self.batched:
            return False
        inner = self.inner(space)
        fixed = zip(self.shape[1:], inner, strict=True)
        return math.prod(inner) == space.size and all(not isinstance(d, int) or d == i for d, i in fixed)

    @property
    def batched(self) -> bool:
        """Whether the first dimension takes a batch of one."""
        return bool(self.shape) and (not isinstance(self.shape[0], int) or self.shape[0] == 1)


def misfit(inputs: list[Port], outputs: list[Port], interface: Interface) -> str:
    """Why a graph does not fit the spaces, as a sentence; empty where it does."""
    states = [port for port in inputs if port.name.startswith(STATE)]
    return (
        _misnamed([p.name for p in inputs], [p.name for p in outputs], list(entries(interface)), len(states))
        or _misshapen({p.name: p for p in (*inputs, *outputs)}, {**entries(interface), ACTION: interface.action})
        or _unfit_states(states, {p.name: p for p in outputs})
    )


def _misnamed(inputs: list[str], outputs: list[str], observed: list[str], states: int) -> str:
    wanted = [*observed, *(f"{STATE}{i}" for i in range(states))]
    if sorted(inputs) != sorted(wanted):
        return f"the graph has inputs {inputs}; it needs exactly {wanted}"
    missing = [name for name in (ACTION, *(f"{NEXT}{i}" for i in range(states))) if name not in outputs]
    if missing:
        return f"the graph has outputs {outputs}; it needs {missing} too"
    return ""


def _misshapen(ports: dict[str, Port], spaces: dict[str, Space]) -> str:
    for name, space in spaces.items():
        port = ports[name]
        if port.type not in DTYPES:
            return f"{name} of the graph is a {port.type}; it must be one of {', '.join(DTYPES)}"
        if not port.holds(space):
            return f"{name} of the graph has shape {list(port.shape)}, which does not hold {space.describe()}"
    return ""


def _unfit_states(states: list[Port], outputs: dict[str, Port]) -> str:
    for port in states:
        after = outputs[NEXT + port.name.removeprefix(STATE)]
        if port.type not in DTYPES or after.type != port.type:
            return f"{port.name} of the graph is a {port.type} and {after.name} a {after.type}; they must be alike"
        if not port.batched or not all(isinstance(d, int) for d in port.shape[1:]):
            return f"{port.name} of the graph has shape {list(port.shape)}; only its first dimension may be open"
    return ""
