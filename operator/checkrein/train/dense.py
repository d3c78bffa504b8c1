"""The layers of a small dense policy as `policy.safetensors`, for agents that compute them without a runtime.

docs/artifact.md describes the file. The graph remains the policy: an agent uses the layers only where both agree.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from gymnasium import spaces
from sb3_contrib.qrdqn.policies import QRDQNPolicy
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.dqn.policies import DQNPolicy
from torch import Tensor, nn

from checkrein.api.spaces import Interface
from checkrein.train.export import reward_scale
from checkrein.train.model import ACTIVATIONS, observation_statistics
from checkrein.wrappers.spaces import build

FILE = "policy.safetensors"
LAYOUT = "checkrein.dev/dense/v1"
NAMES = {module: name for name, module in ACTIVATIONS.items()}

Array = np.ndarray[Any, Any]
Tensors = dict[str, Array]


class OtherNetworkError(Exception):
    """The network is something else than the layout can say."""


def to_dense(model: BaseAlgorithm, interface: Interface) -> bytes | None:
    """The file; None where there is more than dense layers on a flat observation: convolutions, a Dict, an image."""
    try:
        towers, head, extra = _network(model.policy)
        _require_flat(model, interface, towers["actor"][0])
        activation = _activation(layer for tower in towers.values() for layer in tower)
        tensors = {name: array for tower, layers in towers.items() for name, array in _layers(tower, layers).items()}
    except OtherNetworkError:
        return None
    statistics, clip = _statistics(model)
    scale = {"value_scale": np.array([reward_scale(model)])}
    # One entry: the library writes several in an order of chance, and the same policy must have the same digest.
    metadata = {LAYOUT: json.dumps({"activation": activation, "head": head, **clip})}
    return safetensors.numpy.save({**tensors, **extra, **statistics, **scale}, metadata)


def _network(policy: Any) -> tuple[dict[str, list[nn.Module]], str, Tensors]:
    """Modules of the actor and the critic in order, what the actor's last one gives, and what else acting needs."""
    if type(policy) is DQNPolicy:
        return {"actor": [*policy.q_net.q_net]}, "q_values", {}
    if type(policy) is QRDQNPolicy:
        *hidden, last = policy.quantile_net.quantile_net
        assert isinstance(last, nn.Linear)
        return {"actor": [*hidden, _averaged(last, policy.quantile_net.n_quantiles)]}, "q_values", {}
    if type(policy) is not ActorCriticPolicy or policy.squash_output:
        raise OtherNetworkError
    between = policy.mlp_extractor
    towers = {
        "actor": [*between.policy_net, policy.action_net],
        "critic": [*between.value_net, policy.value_net],
    }
    continuous = hasattr(policy, "log_std")
    spread = {"log_std": _array(policy.log_std)} if continuous and not policy.use_sde else {}
    return towers, "mean" if continuous else "logits", spread


def _averaged(last: nn.Linear, quantiles: int) -> nn.Linear:
    """The layer that gives the mean over quantiles of what `last` gives, [quantiles, actions] flat."""
    layer = nn.Linear(last.in_features, last.out_features // quantiles)
    with torch.no_grad():
        layer.weight.copy_(last.weight.view(quantiles, *layer.weight.shape).mean(dim=0))
        layer.bias.copy_(last.bias.view(quantiles, *layer.bias.shape).mean(dim=0))
    return layer


def _require_flat(model: BaseAlgorithm, interface: Interface, first: Any) -> None:
    """Raises OtherNetworkError where observations are more than encoded, normalised and flattened on their way in."""
    policy: Any = model.policy
    network = getattr(policy, "q_net", getattr(policy, "quantile_net", policy))
    space = build(interface.observation)
    flat = isinstance(network.features_extractor, FlattenExtractor) and not isinstance(space, spaces.Dict)
    # The library divides images by 255; a stack is wider than what it is made of.
    if not flat or is_image_space(policy.observation_space) or first.in_features != spaces.flatdim(space):
        raise OtherNetworkError
    if observation_statistics(model) and not isinstance(space, spaces.Box):
        raise OtherNetworkError


def _activation(layers: Iterable[nn.Module]) -> str:
    """The one that follows each hidden layer; any name where there is no hidden layer."""
    found = {type(layer) for layer in layers} - {nn.Linear}
    if len(found) > 1 or not found <= NAMES.keys():
        raise OtherNetworkError
    return NAMES[found.pop()] if found else "tanh"


def _layers(tower: str, modules: list[nn.Module]) -> Tensors:
    """Weights and biases, by the layer's position. Linear layers and activations take turns."""
    linear = modules[::2]
    if not all(isinstance(m, nn.Linear) for m in linear) or any(isinstance(m, nn.Linear) for m in modules[1::2]):
        raise OtherNetworkError
    return {
        f"{tower}.{position}.{name}": _array(parameter)
        for position, module in enumerate(linear)
        for name, parameter in module.named_parameters()
    }


def _statistics(model: BaseAlgorithm) -> tuple[Tensors, dict[str, float]]:
    """By what observations are normalised, and within what they are kept then."""
    normalizer, statistics = model.get_vec_normalize_env(), observation_statistics(model).get("")
    if normalizer is None or statistics is None:
        return {}, {}
    mean, spread = statistics.mean.ravel(), np.sqrt(statistics.var + normalizer.epsilon).ravel()
    return {"observation.mean": mean, "observation.spread": spread}, {"clip": float(normalizer.clip_obs)}


def _array(tensor: Tensor) -> Array:
    return np.ascontiguousarray(tensor.detach().cpu().numpy())
