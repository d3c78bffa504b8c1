"""What follows each hidden layer of a dense network, computed in place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from checkrein.shield.arrays import Array

Activate = Callable[[], object]


def _in_place(function: Callable[..., Any]) -> Callable[[Array], Activate]:
    return lambda target: partial(function, target, target)


def _relu(target: Array) -> Activate:
    return partial(np.maximum, target, np.float32(0), out=target)


def _leaky_relu(target: Array) -> Activate:
    scaled = np.empty_like(target)

    def activate() -> None:
        np.multiply(target, np.float32(0.01), scaled)
        np.maximum(target, scaled, out=target)

    return activate


def _elu(target: Array) -> Activate:
    below = np.empty_like(target)

    def activate() -> None:
        np.minimum(target, np.float32(0), out=below)
        np.expm1(below, below)
        np.maximum(target, np.float32(0), out=target)
        np.add(target, below, target)

    return activate


def _silu(target: Array) -> Activate:
    """x / (1 + exp(-x)), by tanh: nothing overflows."""
    gate = np.empty_like(target)

    def activate() -> None:
        np.multiply(target, np.float32(0.5), target)
        np.tanh(target, gate)
        np.add(gate, np.float32(1), gate)
        np.multiply(target, gate, target)

    return activate


ACTIVATIONS: dict[str, Callable[[Array], Activate]] = {
    "tanh": _in_place(np.tanh),
    "relu": _relu,
    "elu": _elu,
    "leaky_relu": _leaky_relu,
    "silu": _silu,
}
