"""An exported policy that acts: ONNX Runtime and nothing of the library that trained it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime

from checkrein.api.spaces import Interface, Space
from checkrein.store.artifacts import LoadedArtifact

FILE = "policy.onnx"
INPUT = "observation"
ACTION = "action"

Array = np.ndarray[Any, Any]


class Policy:
    """Acts on batches, deterministically."""

    def __init__(self, artifact: LoadedArtifact) -> None:
        self.interface: Interface = artifact.manifest.interface
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(artifact.files[FILE], options)

    def act(self, observations: list[Any]) -> Array:
        """Executable actions, one for each observation."""
        actions = self._session.run([ACTION], {INPUT: batch(self.interface.observation, observations)})[0]
        return np.asarray(actions).astype(self.interface.action.dtype, copy=False)


def batch(space: Space, observations: list[Any]) -> Array:
    """Observations as the graph's input: int64 for Discrete and MultiDiscrete, else float32."""
    integers = space.type in ("Discrete", "MultiDiscrete")
    return np.stack([np.asarray(o) for o in observations]).astype(np.int64 if integers else np.float32)
