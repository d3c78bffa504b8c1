"""The policy as ONNX: one graph from the observation as the environment gives it to the action that it executes.

Input `observation`, [batch, *shape]: float32 for Box and MultiBinary, int64 for Discrete ([batch]) and MultiDiscrete;
of a Dict one input for each member, `observation.KEY`.
Outputs, batch first: `action` (int64 for discrete kinds, `start` included; float32 for Box, within its bounds),
and of what the algorithm has: `value` (expected discounted return, in the environment's own rewards), `logits`,
`q_values`, `mean`, `log_std`.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor, nn

from checkrein.api.spaces import Interface, Space
from checkrein.api.wrappers import Wrapper
from checkrein.train.algorithms import Algorithm
from checkrein.train.failures import Failed
from checkrein.train.model import observation_statistics, transposed
from checkrein.train.policy import inputs
from checkrein.train.stacking import Layers, as_learnt

OPSET = 17
TIE = 1e-4
"""Scores closer than this (of the largest, or of 1) may be ranked either way: two runtimes round differently."""

Array = np.ndarray[Any, Any]


class Entry(nn.Module):
    """From the environment's observation, or one member of it, to what the library's policy takes."""

    mean: Tensor
    spread: Tensor

    def __init__(self, model: BaseAlgorithm, name: str) -> None:
        super().__init__()
        self.transposed = name in transposed(model)
        self.clip: float | None = None
        normalizer = model.get_vec_normalize_env()
        statistics = observation_statistics(model).get(name)
        if normalizer is not None and statistics is not None:
            self.clip = float(normalizer.clip_obs)
            self.register_buffer("mean", torch.as_tensor(statistics.mean, dtype=torch.float64))
            spread = np.sqrt(statistics.var + normalizer.epsilon)
            self.register_buffer("spread", torch.as_tensor(spread, dtype=torch.float64))

    def forward(self, observation: Tensor) -> Tensor:
        """Channels first, normalised."""
        if self.transposed:
            observation = observation.permute(0, 3, 1, 2)
        if self.clip is not None:  # in double precision, as the library does it
            scaled = (observation.double() - self.mean) / self.spread
            observation = scaled.clamp(-self.clip, self.clip).float()
        return observation


class Graph(nn.Module):
    """Everything between the environment's observation and its action."""

    low: Tensor
    high: Tensor

    def __init__(
        self, model: BaseAlgorithm, network: nn.Module, interface: Interface, wrappers: Sequence[Wrapper]
    ) -> None:
        super().__init__()
        self.network = network
        self.model_space = model.action_space
        self.squashed = bool(getattr(model.policy, "squash_output", False))
        self.first_action = interface.action.start or 0
        self.value_scale = reward_scale(model)
        self.layers = Layers(interface.observation, wrappers)
        self.entries = nn.ModuleList(Entry(model, name) for name in self.layers.names)
        if isinstance(self.model_space, spaces.Box):
            self.register_buffer("low", torch.as_tensor(self.model_space.low))
            self.register_buffer("high", torch.as_tensor(self.model_space.high))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """In the order of `names`."""
        outputs = self._outputs(inputs)
        return tuple(outputs[name] for name in sorted(outputs))

    def names(self, inputs: tuple[Tensor, ...]) -> list[str]:
        """What the graph gives."""
        with torch.no_grad():
            return sorted(self._outputs(inputs))

    def _outputs(self, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
        parts, state = self.layers(*inputs)
        names = self.layers.names
        prepared = {name: entry(part) for name, entry, part in zip(names, self.entries, parts, strict=True)}
        outputs = self.network(prepared[""] if names == [""] else prepared)
        outputs["action"] = self._execute(outputs["action"])
        if "value" in outputs:
            outputs["value"] = outputs["value"] * self.value_scale
        return {**outputs, **state}

    def _execute(self, action: Tensor) -> Tensor:
        if not isinstance(self.model_space, spaces.Box):
            return action + self.first_action if self.first_action else action
        action = action.reshape(-1, *self.model_space.shape)
        if self.squashed:
            action = self.low + 0.5 * (action + 1.0) * (self.high - self.low)
        return torch.minimum(torch.maximum(action, self.low), self.high)


def reward_scale(model: BaseAlgorithm) -> float:
    """By what rewards were divided in training."""
    normalizer = model.get_vec_normalize_env()
    if normalizer is None or not normalizer.norm_reward:
        return 1.0
    return float(np.sqrt(normalizer.ret_rms.var + normalizer.epsilon))


def to_onnx(
    model: BaseAlgorithm, algorithm: Algorithm, interface: Interface, wrappers: Sequence[Wrapper] = ()
) -> bytes:
    """The policy's graph. Learning is over: the policy moves to the CPU."""
    model.policy.set_training_mode(False)
    graph = Graph(model, algorithm.network(model.policy), interface, wrappers).to("cpu").eval()
    observed = inputs(interface.observation, [_zero(interface.observation)] * 2)
    zeros = {name: torch.as_tensor(array) for name, array in observed.items()}
    zeros |= graph.layers.zeros(interface.observation, batch=2)
    sample = tuple(zeros.values())
    names = graph.names(sample)
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # The exporter by tracing needs 0.1 s, the one by torch.export 4 s; both give the same graph of a small network.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            sample,
            file,  # type: ignore[arg-type]  # annotated for the other exporter
            input_names=list(zeros),
            output_names=names,
            dynamic_axes={name: {0: "batch"} for name in (*zeros, *names)},
            opset_version=OPSET,
            dynamo=False,
        )
    return file.getvalue()


def verify(
    onnx: bytes,
    model: BaseAlgorithm,
    interface: Interface,
    observations: list[Any],
    wrappers: Sequence[Wrapper] = (),
) -> None:
    """Compare with the library's own deterministic actions. Raises Failed (ExportMismatch, permanent)."""
    session = onnxruntime.InferenceSession(onnx)
    names = [output.name for output in session.get_outputs()]
    _, state = as_learnt(interface.observation, wrappers, observations)
    outputs = dict(zip(names, session.run(None, inputs(interface.observation, observations) | state), strict=True))
    expected = predict(model, interface, observations, wrappers)
    differing = np.flatnonzero(_differs(outputs, expected, interface.action))
    if differing.size:
        first = differing[0]
        raise Failed(
            "ExportMismatch",
            f"the exported policy acts unlike the trained one on {differing.size} of {len(observations)} observations, "
            f"first {outputs['action'][first]} instead of {expected[first]}; report it with the TrainingJob's spec",
            permanent=True,
        )


def predict(
    model: BaseAlgorithm, interface: Interface, observations: list[Any], wrappers: Sequence[Wrapper] = ()
) -> Array:
    """The library's deterministic actions, as the environment executes them."""
    raw, _ = as_learnt(interface.observation, wrappers, observations)
    normalizer = model.get_vec_normalize_env()
    seen = normalizer.normalize_obs(raw) if normalizer is not None else raw
    actions, _ = model.predict(seen, deterministic=True)
    return np.asarray(actions) + (interface.action.start or 0)


def _zero(space: Space) -> Any:
    if space.type == "Dict":
        return {name: _zero(leaf) for name, leaf in space.leaves.items()}
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
