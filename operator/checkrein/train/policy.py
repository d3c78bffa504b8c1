"""An exported policy that acts: ONNX Runtime and nothing of the library that trained it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime

from checkrein.api.spaces import Interface, Space
from checkrein.store.artifacts import LoadedArtifact
from checkrein.train.sampling import sampler

FILE = "policy.onnx"
INPUT = "observation"
ACTION = "action"
STATE = "state."

Array = np.ndarray[Any, Any]


@dataclass
class Turn:
    """What a policy is given of one episode for its next decision, and what it keeps there."""

    observation: Any
    rng: np.random.Generator
    """Of this episode alone: its course does not depend on what is played beside it."""
    state: tuple[Array, ...] = ()
    """Of a network that has one; () at the start."""
    step: int = 0
    """Decisions before this one, and the action of the last of them: rules may look at both."""
    previous: Array | None = None
    rule: str | None = None
    """The rule that the latest decision would have broken."""


class Policy:
    """Acts on batches, in the one way that its manifest names."""

    def __init__(self, artifact: LoadedArtifact) -> None:
        self.interface: Interface = artifact.manifest.interface
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(artifact.files[FILE], options)
        self._names = [output.name for output in self._session.get_outputs()]
        self._initial = [
            np.zeros(port.shape[1:], np.float32) for port in self._session.get_inputs() if port.name.startswith(STATE)
        ]
        self._draw = sampler(self.interface.action) if artifact.manifest.acting == "Stochastic" else None

    def act(self, turns: Sequence[Turn]) -> list[Any]:
        """Executable actions, one for each turn."""
        return self.choose(self.say(turns), turns)

    def say(self, turns: Sequence[Turn]) -> dict[str, Array]:
        """What the network says, batch first, without its state, which the turns keep."""
        feeds = inputs(self.interface.observation, [turn.observation for turn in turns])
        for i, zeros in enumerate(self._initial):
            feeds[f"{STATE}{i}"] = np.stack([turn.state[i] if turn.state else zeros for turn in turns])
        outputs = dict(zip(self._names, self._session.run(self._names, feeds), strict=True))
        for row, turn in enumerate(turns):
            turn.state = tuple(outputs[f"next_{STATE}{i}"][row] for i in range(len(self._initial)))
        return {name: output for name, output in outputs.items() if not name.startswith(f"next_{STATE}")}

    def choose(self, outputs: dict[str, Array], turns: Sequence[Turn]) -> list[Any]:
        """By what the network said of these turns: its best actions, or drawn ones."""
        if self._draw is None:
            return list(np.asarray(outputs[ACTION]).astype(self.interface.action.dtype, copy=False))
        rows = ({name: np.asarray(array[row]) for name, array in outputs.items()} for row in range(len(turns)))
        return [self._draw(row, turn.rng) for row, turn in zip(rows, turns, strict=True)]


def inputs(space: Space, observations: list[Any]) -> dict[str, Array]:
    """Observations as the graph's inputs: `observation`, or of a Dict `observation.KEY` for each member."""
    if space.type != "Dict":
        return {INPUT: batch(space, observations)}
    return {f"{INPUT}.{name}": batch(leaf, [o[name] for o in observations]) for name, leaf in space.leaves.items()}


def batch(space: Space, observations: list[Any]) -> Array:
    """Observations as one input, of a space other than Dict: int64 for Discrete and MultiDiscrete, else float32."""
    integers = space.type in ("Discrete", "MultiDiscrete")
    return np.stack([np.asarray(o) for o in observations]).astype(np.int64 if integers else np.float32)
