"""The policy as ONNX: one graph from the observation as the environment gives it to the action that it executes.

Input `observation`, [batch, *shape]: float32 for Box and MultiBinary, int64 for Discrete ([batch]) and MultiDiscrete.
Outputs, batch first: `action` (int64 for discrete kinds, `start` included; float32 for Box, within its bounds),
`value` (expected discounted return, in the environment's own rewards), and of what the algorithm has: `logits`,
`q_values`, `mean`, `log_std`.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import onnxruntime
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecTransposeImage
from torch import Tensor, nn

from checkrein.api.spaces import Interface, Space
from checkrein.train.algorithms import Algorithm
from checkrein.train.failures import Failed
from checkrein.train.model import observation_statistics
from checkrein.train.policy import INPUT, batch

OPSET = 17
TIE = 1e-4
"""Scores closer than this (of the largest, or of 1) may be ranked either way: two runtimes round differently."""

Array = np.ndarray[Any, Any]


class Graph(nn.Module):
    """Everything between the environment's observation and its action."""

    mean: Tensor
    spread: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, model: BaseAlgorithm, network: nn.Module, interface: Interface) -> None:
        super().__init__()
        self.network = network
        self.model_space = model.action_space
        self.squashed = bool(getattr(model.policy, "squash_output", False))
        self.transposed = isinstance(model.get_env(), VecTransposeImage)
        self.first_observation = interface.observation.start or 0
        self.first_action = interface.action.start or 0
        self.value_scale = 1.0
        self.clip: float | None = None
        self._freeze(model)

    def _freeze(self, model: BaseAlgorithm) -> None:
        """Statistics as they are now."""
        normalizer = model.get_vec_normalize_env()
        if normalizer is not None and normalizer.norm_reward:
            self.value_scale = float(np.sqrt(normalizer.ret_rms.var + normalizer.epsilon))
        statistics = observation_statistics(model)
        if normalizer is not None and statistics is not None:
            self.clip = float(normalizer.clip_obs)
            self.register_buffer("mean", torch.as_tensor(statistics.mean, dtype=torch.float64))
            spread = np.sqrt(statistics.var + normalizer.epsilon)
            self.register_buffer("spread", torch.as_tensor(spread, dtype=torch.float64))
        if isinstance(self.model_space, spaces.Box):
            self.register_buffer("low", torch.as_tensor(self.model_space.low))
            self.register_buffer("high", torch.as_tensor(self.model_space.high))

    def forward(self, observation: Tensor) -> tuple[Tensor, ...]:
        """In the order of `names`."""
        outputs = self.network(self._prepare(observation))
        outputs["action"] = self._execute(outputs["action"])
        outputs["value"] = outputs["value"] * self.value_scale
        return tuple(outputs[name] for name in sorted(outputs))

    def names(self, observation: Tensor) -> list[str]:
        """What the graph gives."""
        with torch.no_grad():
            return sorted(self.network(self._prepare(observation)))

    def _prepare(self, observation: Tensor) -> Tensor:
        if self.first_observation:
            observation = observation - self.first_observation
        if self.transposed:
            observation = observation.permute(0, 3, 1, 2)
        if self.clip is not None:  # in double precision, as the library does it
            scaled = (observation.double() - self.mean) / self.spread
            observation = scaled.clamp(-self.clip, self.clip).float()
        return observation

    def _execute(self, action: Tensor) -> Tensor:
        if not isinstance(self.model_space, spaces.Box):
            return action + self.first_action if self.first_action else action
        action = action.reshape(-1, *self.model_space.shape)
        if self.squashed:
            action = self.low + 0.5 * (action + 1.0) * (self.high - self.low)
        return torch.minimum(torch.maximum(action, self.low), self.high)


def to_onnx(model: BaseAlgorithm, algorithm: Algorithm, interface: Interface) -> bytes:
    """The policy's graph. Learning is over: the policy moves to the CPU."""
    model.policy.set_training_mode(False)
    graph = Graph(model, algorithm.network(model.policy), interface).to("cpu").eval()
    sample = torch.as_tensor(batch(interface.observation, [_zero(interface.observation)] * 2))
    names = graph.names(sample)
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # The exporter by tracing needs 0.1 s, the one by torch.export 4 s; both give the same graph of a small network.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            (sample,),
            file,  # type: ignore[arg-type]  # annotated for the other exporter
            input_names=[INPUT],
            output_names=names,
            dynamic_axes={name: {0: "batch"} for name in (INPUT, *names)},
            opset_version=OPSET,
            dynamo=False,
        )
    return file.getvalue()


def verify(onnx: bytes, model: BaseAlgorithm, interface: Interface, observations: list[Any]) -> None:
    """Compare with the library's own deterministic actions. Raises Failed (ExportMismatch, permanent)."""
    session = onnxruntime.InferenceSession(onnx)
    names = [output.name for output in session.get_outputs()]
    inputs = batch(interface.observation, observations)
    outputs = dict(zip(names, session.run(None, {INPUT: inputs}), strict=True))
    expected = predict(model, interface, observations)
    differing = np.flatnonzero(_differs(outputs, expected, interface.action))
    if differing.size:
        first = differing[0]
        raise Failed(
            "ExportMismatch",
            f"the exported policy acts unlike the trained one on {differing.size} of {len(observations)} observations, "
            f"first {outputs['action'][first]} instead of {expected[first]}; report it with the TrainingJob's spec",
            permanent=True,
        )


def predict(model: BaseAlgorithm, interface: Interface, observations: list[Any]) -> Array:
    """The library's deterministic actions, as the environment executes them."""
    raw = np.stack([np.asarray(o) for o in observations]) - (interface.observation.start or 0)
    normalizer = model.get_vec_normalize_env()
    seen = normalizer.normalize_obs(raw) if normalizer is not None else raw
    actions, _ = model.predict(seen, deterministic=True)
    return np.asarray(actions) + (interface.action.start or 0)


def _zero(space: Space) -> Array:
    if space.type == "Discrete":
        return np.asarray(space.start or 0)
    return np.zeros(len(space.nvec) if space.type == "MultiDiscrete" else space.shape)


def _differs(outputs: dict[str, Array], expected: Array, space: Space) -> Array:
    """For each observation, whether the actions differ by more than rounding. Shape [batch]."""
    actions = outputs["action"]
    if space.type == "Box":
        return _any(np.abs(actions - expected) > TIE * max(1.0, float(np.abs(expected).max())))
    return _any(actions != expected) & ~_tied(outputs.get("logits", outputs.get("q_values")), space)


def _tied(scores: Array | None, space: Space) -> Array:
    """For each observation, whether rounding could decide the action. Shape [batch]."""
    assert scores is not None
    tie = TIE * np.maximum(1.0, np.abs(scores).max(axis=1, keepdims=True))
    if space.type == "MultiBinary":
        return _any(np.abs(scores) < tie)
    widths = space.nvec if space.type == "MultiDiscrete" else [scores.shape[1]]
    parts = np.split(scores, np.cumsum(widths)[:-1], axis=1)
    gaps = [np.diff(np.sort(part, axis=1)[:, -2:], axis=1) for part in parts if part.shape[1] > 1]
    return _any(np.hstack([gap < tie for gap in gaps])) if gaps else np.zeros(len(scores), dtype=bool)


def _any(elements: Array) -> Array:
    """For each row, whether any element of it is true. Shape [batch]."""
    return np.asarray(elements.reshape(len(elements), -1).any(axis=1))
