"""A numpy forward pass for small dense networks: at batch size 1 it beats a general runtime's overhead.

The graph remains the policy: what `densefile` reads is used only where it agrees with the graph (`difference`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any

import numpy as np

from checkrein.agent.activations import ACTIVATIONS, Activate
from checkrein.agent.densefile import Network, encoded_size, parse
from checkrein.agent.kernel import Kernel, Observation, Outputs, States
from checkrein.api.spaces import Interface, Space
from checkrein.shield.arrays import Array, bounds, element_shape

TOLERANCE = 1e-5
"""Of the output's largest element, or of 1: what two ways to round sums of a few hundred terms may differ by."""
MERGED = 256
"""Actor and critic run as one network up to this many units together: fewer calls outweigh multiplying zeros."""

_Step = tuple[Array, Array, Array, Activate | None]
"""Matrix, source, target, and what is done to the target then."""


class DenseKernel:
    """Computes into arrays that are made once. Raises DenseError."""

    def __init__(self, data: bytes, interface: Interface) -> None:
        self._arrange(parse(data, interface), interface)

    def _arrange(self, network: Network, interface: Interface) -> None:
        self._network, self._interface = network, interface
        self._lock = Lock()
        self._entry = np.ones(encoded_size(interface.observation) + 1, np.float32)
        self._encode = _encoder(network, interface.observation, self._entry[:-1])
        towers = _merge(network.actor, network.critic) or [t for t in (network.actor, network.critic) if t]
        self._result = np.empty(sum(len(tower[-1]) for tower in towers), np.float32)
        self._steps: list[_Step] = []
        start = 0
        for tower in towers:
            end = start + len(tower[-1])
            self._steps += _steps(tower, self._entry, self._result[start:end], network.activation)
            start = end
        self._decode = _decoder(network, interface.action)

    @property
    def initial_state(self) -> States:
        """None: dense networks keep nothing."""
        return ()

    def twin(self) -> DenseKernel:
        """Another one that computes into arrays of its own."""
        made = object.__new__(DenseKernel)
        made._arrange(self._network, self._interface)
        return made

    def stop(self) -> None:
        """It never takes long."""

    def run(self, observation: Observation, state: States = ()) -> Outputs:
        """What the network says."""
        with self._lock:
            self._encode(observation)
            for matrix, source, target, activate in self._steps:
                np.dot(matrix, source, target)
                if activate is not None:
                    activate()
            result = self._result.copy()
        return self._decode(result)


def difference(one: Kernel, other: Kernel, observations: Iterable[Observation]) -> str:
    """The first output on which two kernels differ by more than rounding, as a sentence; empty where there is none."""
    for observation in observations:
        mine, theirs = one.run(observation), other.run(observation)
        for name in ("action", "value", "logits", "q_values", "mean", "log_std"):
            a, b = getattr(mine, name), getattr(theirs, name)
            if (a is None) != (b is None) or (a is not None and not _close(a, b)):
                return f"{name} is {a!s:.80} and {b!s:.80} on observation {observation!s:.200}"
    return ""


def _close(a: Any, b: Any) -> bool:
    """False for NaN too."""
    one, other = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if one.shape != other.shape:
        return False
    return bool((np.abs(one - other) <= TOLERANCE * np.abs(other).max(initial=1.0)).all())


def _merge(actor: list[Array], critic: list[Array]) -> list[list[Array]]:
    """Both as one network of block matrices; nothing where that does not pay."""
    pairs = list(zip(actor, critic, strict=False))
    if len(actor) != len(critic) or any(len(a) + len(c) > MERGED for a, c in pairs):
        return []
    first, *rest = pairs
    return [[np.vstack(first), *(_block(a, c) for a, c in rest)]]


def _block(a: Array, c: Array) -> Array:
    (rows, columns), (more_rows, more_columns) = a.shape, c.shape
    block = np.zeros((rows + more_rows, columns + more_columns - 1), np.float32)
    block[:rows, : columns - 1], block[rows:, columns - 1 : -1] = a[:, :-1], c[:, :-1]
    block[:, -1] = np.concatenate([a[:, -1], c[:, -1]])
    return block


def _steps(tower: list[Array], entry: Array, result: Array, activation: str) -> list[_Step]:
    """Each layer writes the source of the next; a source's last element stays 1 and brings the bias in."""
    steps: list[_Step] = []
    source = entry
    for matrix in tower[:-1]:
        following = np.ones(len(matrix) + 1, np.float32)
        target = following[:-1]
        steps.append((np.ascontiguousarray(matrix), source, target, ACTIVATIONS[activation](target)))
        source = following
    return [*steps, (np.ascontiguousarray(tower[-1]), source, result, None)]


def _encoder(network: Network, space: Space, entry: Array) -> Callable[[Any], None]:
    """A function that writes an observation into `entry`, normalised or one-hot."""
    if space.type in ("Discrete", "MultiDiscrete"):
        widths = space.nvec if space.type == "MultiDiscrete" else [space.n or 1]
        offsets = np.cumsum([0, *widths[:-1]]) - (space.start or 0)

        def one_hot(observation: Array) -> None:
            entry[:] = 0
            entry[observation + offsets] = 1

        return one_hot

    shaped = entry.reshape(element_shape(space))
    if network.mean is None or network.spread is None:

        def plain(observation: Array) -> None:
            shaped[...] = observation

        return plain

    mean, spread, clip = network.mean, network.spread, network.clip
    wide = np.empty_like(mean)  # in double precision, as the trainer's library does it

    def normalised(observation: Array) -> None:
        shaped[...] = observation
        np.subtract(entry, mean, wide)
        np.divide(wide, spread, wide)
        np.minimum(wide, clip, out=wide)
        np.maximum(wide, -clip, out=wide)
        entry[:] = wide

    return normalised


def _decoder(network: Network, action: Space) -> Callable[[Array], Outputs]:
    """A function from the towers' results, scores first and the critic's last, to outputs."""
    choose = _chooser(action)
    if network.head == "q_values":
        return lambda q_values: Outputs(choose(q_values), q_values.max().item() * network.value_scale, None, q_values)
    scale, log_std = network.value_scale, network.log_std
    if network.head == "mean":

        def continuous(result: Array) -> Outputs:
            mean = result[:-1]
            return Outputs(choose(mean), result.item(-1) * scale, None, None, mean, log_std)

        return continuous

    def discrete(result: Array) -> Outputs:
        logits = result[:-1]
        return Outputs(choose(logits), result.item(-1) * scale, logits)

    return discrete


def _chooser(action: Space) -> Callable[[Array], Array]:
    """From scores to the deterministic action."""
    if action.type == "Box":
        shape = element_shape(action)
        low, high = (bound.astype(np.float32).ravel() for bound in bounds(action))
        return lambda mean: np.minimum(np.maximum(mean, low), high).reshape(shape)
    if action.type == "Discrete":
        start = action.start or 0
        return lambda scores: np.array(int(scores.argmax()) + start, np.int64)  # numpy's own scalars add slowly
    if action.type == "MultiBinary":
        shape = element_shape(action)
        return lambda scores: (scores > 0).astype(np.int64).reshape(shape)
    ends = np.cumsum(action.nvec).tolist()
    parts = [slice(end - width, end) for end, width in zip(ends, action.nvec, strict=True)]
    return lambda scores: np.array([scores[part].argmax() for part in parts], np.int64)
