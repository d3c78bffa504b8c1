"""Observations to compare an exported policy on."""

from __future__ import annotations

from contextlib import closing
from copy import deepcopy
from typing import Any

import numpy as np

from checkrein.api.environment import RLEnvironmentSpec
from checkrein.api.spaces import Space
from checkrein.wrappers.environments import make_environment

EXTREME = 100.0
"""Unbounded spaces are sampled within this: beyond it rounding alone tells two runtimes apart."""


def gather(spec: RLEnvironmentSpec, count: int, seed: int) -> list[Any]:
    """`count` observations of random play, and as many drawn from the observation space."""
    with closing(make_environment(spec)) as env:
        env.action_space.seed(seed)
        env.observation_space.seed(seed)
        seen = [deepcopy(env.reset(seed=seed)[0])]
        while len(seen) < count:
            observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
            seen.append(deepcopy(observation))  # environments may write the next one into the same array
            if terminated or truncated:
                env.reset()
        return seen + [_tame(env.observation_space.sample()) for _ in range(count)]


def stacked(space: Space, observations: list[Any]) -> Any:
    """As the library's policies take them: a batch, or of a Dict one for each member, counting from 0."""
    if space.type == "Dict":
        return {name: stacked(leaf, [o[name] for o in observations]) for name, leaf in space.leaves.items()}
    return np.stack([np.asarray(o) for o in observations]) - (space.start or 0)


def _tame(observation: Any) -> Any:
    if isinstance(observation, dict):
        return {name: _tame(value) for name, value in observation.items()}
    if np.issubdtype(np.asarray(observation).dtype, np.floating):
        return np.clip(observation, -EXTREME, EXTREME)
    return observation
