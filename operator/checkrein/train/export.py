"""The policy as ONNX: one graph from the observation as the environment gives it to the action that it executes.

Input `observation`, [batch, *shape]: float32 for Box and MultiBinary, int64 for Discrete ([batch]) and MultiDiscrete;
of a Dict one input for each member, `observation.KEY`. Then what is remembered, `state.0`, ...: a stack (see
`stacking`), then what a recurrent network keeps.
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
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor, nn

from checkrein.api.spaces import Interface, Space
from checkrein.api.wrappers import Wrapper
from checkrein.train.algorithms import Algorithm
from checkrein.train.model import observation_statistics, transposed
from checkrein.train.networks import RecurrentActorCritic
from checkrein.train.policy import STATE, inputs
from checkrein.train.stacking import Layers

OPSET = 17
NEXT = f"next_{STATE}"


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
        parts, stack, own = self.layers(*inputs)
        names = self.layers.names
        prepared = {name: entry(part) for name, entry, part in zip(names, self.entries, parts, strict=True)}
        outputs: dict[str, Tensor] = self.network(prepared[""] if names == [""] else prepared, *own)
        states = [*stack, *(outputs.pop(f"{NEXT}{i}") for i in range(len(own)))]
        outputs["action"] = self._execute(outputs["action"])
        if "value" in outputs:
            outputs["value"] = outputs["value"] * self.value_scale
        return outputs | {f"{NEXT}{i}": state for i, state in enumerate(states)}

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
    network = algorithm.network(model.policy)
    graph = Graph(model, network, interface, wrappers).to("cpu").eval()
    observed = inputs(interface.observation, [_zero(interface.observation)] * 2)
    zeros = {name: torch.as_tensor(array) for name, array in observed.items()}
    states = [*graph.layers.zeros(interface.observation, batch=2), *remembered(network, batch=2)]
    zeros |= {f"{STATE}{i}": state for i, state in enumerate(states)}
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


def remembered(network: nn.Module, batch: int) -> list[Tensor]:
    """A recurrent network's state at an episode's start, [batch, ...] each; nothing of another network."""
    return network.states(batch) if isinstance(network, RecurrentActorCritic) else []


def _zero(space: Space) -> Any:
    if space.type == "Dict":
        return {name: _zero(leaf) for name, leaf in space.leaves.items()}
    if space.type == "Discrete":
        return np.asarray(space.start or 0)
    return np.zeros(len(space.nvec) if space.type == "MultiDiscrete" else space.shape)
