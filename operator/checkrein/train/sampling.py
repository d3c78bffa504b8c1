"""Drawing actions from what a network says, as agents do it: outside of the graph, by `judge.distributions`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from checkrein.api.spaces import Space
from checkrein.judge import distributions
from checkrein.wrappers.spaces import build

Array = np.ndarray[Any, Any]
Draw = Callable[[Mapping[str, Array], np.random.Generator], Any]


def sampler(space: Space) -> Draw:
    """A function from the outputs for one observation to an executable action."""
    built = build(space)
    return _box(built) if isinstance(built, spaces.Box) else _finite(space)


def _box(space: spaces.Box) -> Draw:
    low, high = space.low.ravel(), space.high.ravel()
    needed = distributions.normal_uniforms(low.size)

    def draw(outputs: Mapping[str, Array], rng: np.random.Generator) -> Array:
        mean, log_std = (outputs[name].ravel().astype(np.float64) for name in ("mean", "log_std"))
        action, _ = distributions.normal_action(mean, np.exp(log_std), low, high, rng.random(needed))
        return action.reshape(space.shape)

    return draw


def _finite(space: Space) -> Draw:
    kind: Any = _kind(space)  # each with distributions of its own form

    def draw(outputs: Mapping[str, Array], rng: np.random.Generator) -> Any:
        indices = kind.pick(kind.softmax(outputs["logits"].ravel()), rng.random(kind.uniforms))
        shaped = indices.reshape(space.shape if space.type == "MultiBinary" else indices.shape)
        return (shaped + (space.start or 0)).astype(space.dtype)[()]

    return draw


def _kind(space: Space) -> distributions.Discrete | distributions.MultiDiscrete | distributions.MultiBinary:
    if space.type == "Discrete":
        return distributions.Discrete(space.n or 1)
    if space.type == "MultiDiscrete":
        return distributions.MultiDiscrete(space.nvec)
    return distributions.MultiBinary(space.size)
