"""Reads `policy.safetensors`: the layers of a small dense network, which docs/artifact.md describes.

A digest says whose bytes these are, not that they make sense: everything is checked.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from checkrein.agent.activations import ACTIVATIONS
from checkrein.agent.kernel import score_sizes
from checkrein.api.spaces import Interface, Space
from checkrein.shield.arrays import Array

FILE = "policy.safetensors"
LAYOUT = "checkrein.dev/dense/v1"
LARGEST = 256 * 256
"""Elements of a weight matrix. Beyond it ONNX Runtime's kernels are as fast, and comparing costs time at load."""
MOST_LAYERS = 17
HEADS = {"Discrete": ("logits", "q_values"), "MultiDiscrete": ("logits",), "MultiBinary": ("logits",), "Box": ("mean",)}


class DenseError(ValueError):
    """The file is not of the layout, or does not fit the interface."""


@dataclass(frozen=True)
class Network:
    """What the file holds, checked. Matrices are [out, in + 1], their last column the bias."""

    actor: list[Array]
    critic: list[Array]
    """Empty where `head` is q_values."""
    activation: str
    head: str
    value_scale: float = 1.0
    log_std: Array | None = None
    mean: Array | None = None
    spread: Array | None = None
    clip: float = math.inf


def parse(data: bytes, interface: Interface) -> Network:
    """The network in the file. Raises DenseError: a digest says whose bytes these are, not that they make sense."""
    tensors, settings = _read(data)
    head, activation = settings.get("head"), settings.get("activation")
    if head not in HEADS[interface.action.type]:
        raise DenseError(f"head is {head!r:.80}, which {interface.action.describe()} does not go with")
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise DenseError(f"activation is {activation!r:.80}, known are {', '.join(ACTIVATIONS)}")
    inputs = encoded_size(interface.observation)
    actor = _tower(tensors, "actor", inputs, score_sizes(interface.action)[head])
    critic = [] if head == "q_values" else _tower(tensors, "critic", inputs, 1)
    normalised = "observation.mean" in tensors
    network = Network(
        actor,
        critic,
        activation,
        head,
        value_scale=float(_take(tensors, "value_scale", (1,), np.float64)[0]),
        log_std=_take(tensors, "log_std", (interface.action.size,), np.float32) if "log_std" in tensors else None,
        mean=_take(tensors, "observation.mean", (inputs,), np.float64) if normalised else None,
        spread=_take(tensors, "observation.spread", (inputs,), np.float64) if normalised else None,
        clip=_positive(settings.get("clip")) if normalised else math.inf,
    )
    _refuse_remains(tensors, network, interface)
    return network


def encoded_size(space: Space) -> int:
    """Width of the network's input. Raises DenseError where the space has no flat encoding."""
    match space.type:
        case "Box" | "MultiBinary":
            return space.size
        case "Discrete":
            return space.n or 1
        case "MultiDiscrete":
            return sum(space.nvec)
    raise DenseError(f"observations of {space.describe()} are not flat")


def _read(data: bytes) -> tuple[dict[str, Array], dict[str, Any]]:
    """The tensors, and what the header says under the layout's name."""
    try:
        tensors = safetensors.numpy.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        settings = json.loads(header["__metadata__"][LAYOUT])
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DenseError(f"not a file of the layout {LAYOUT}: {type(error).__name__}: {error}") from error
    if not isinstance(settings, dict):
        raise DenseError(f"{LAYOUT} is {settings!r:.80}; it must be an object")
    return dict(tensors), settings


def _tower(tensors: dict[str, Array], name: str, inputs: int, outputs: int) -> list[Array]:
    """The layers `name`.0, `name`.1, ... from `inputs` to `outputs` elements."""
    matrices: list[Array] = []
    for layer in range(MOST_LAYERS):
        weight = tensors.get(f"{name}.{layer}.weight")
        if weight is None:
            break
        rows = weight.shape[0] if weight.ndim else 0
        if rows * inputs > LARGEST:
            raise DenseError(f"{name}.{layer}.weight has more than {LARGEST} elements")
        weight = _take(tensors, f"{name}.{layer}.weight", (rows, inputs), np.float32)
        bias = _take(tensors, f"{name}.{layer}.bias", (rows,), np.float32)
        matrices.append(np.column_stack([weight, bias]))
        inputs = rows
    if not matrices or inputs != outputs:
        raise DenseError(f"{name} has {len(matrices)} layers and {inputs} outputs; it needs {outputs}")
    return matrices


def _take(tensors: dict[str, Array], name: str, shape: tuple[int, ...], dtype: Any) -> Array:
    """A tensor, which then is no longer there. Raises DenseError where it is not as it must be."""
    found = tensors.pop(name, None)
    if found is None or found.shape != shape or found.dtype != dtype or not np.isfinite(found).all():
        what = "missing" if found is None else f"{found.dtype}{list(found.shape)}"
        raise DenseError(f"{name} is {what}; it must be {np.dtype(dtype)}{list(shape)} and finite")
    return found


def _positive(clip: object) -> float:
    if not isinstance(clip, int | float) or not clip > 0:
        raise DenseError(f"clip is {clip!r:.80}; it must be a number above zero")
    return float(clip)


def _refuse_remains(tensors: dict[str, Array], network: Network, interface: Interface) -> None:
    """What is there and not understood might matter."""
    if tensors:
        raise DenseError(f"unknown tensors {sorted(tensors)}")
    if network.mean is not None and interface.observation.type != "Box":
        raise DenseError(f"observation.mean: {interface.observation.describe()} has no scale")
    if network.spread is not None and not (network.spread > 0).all():
        raise DenseError("observation.spread must be above zero")
    if network.log_std is not None and network.head != "mean":
        raise DenseError(f"log_std does not go with head {network.head!r}")
