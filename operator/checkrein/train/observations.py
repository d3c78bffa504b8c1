"""Observations to compare an exported policy on."""

from __future__ import annotations

from contextlib import closing
from copy import deepcopy
from typing import Any

import numpy as np

from checkrein.api.environment import RLEnvironmentSpec
from checkrein.api.spaces import ACTION_MASK, Space
from checkrein.wrappers.environments import make_environment
from checkrein.wrappers.masks import has_mask, sample

EXTREME = 100.0
"""Unbounded spaces are sampled within this: beyond it rounding alone tells two runtimes apart."""


def gather(spec: RLEnvironmentSpec, count: int, seed: int) -> list[Any]:
    """`count` observations of random play, and as many drawn from the observation space."""
    with closing(make_environment(spec)) as env:
        env.action_space.seed(seed)
        env.observation_space.seed(seed)
        observation, _ = env.reset(seed=seed)
        seen = [deepcopy(observation)]
        while len(seen) < count:
            observation, _, terminated, truncated, _ = env.step(sample(env, observation))
            seen.append(deepcopy(observation))  # environments may write the next one into the same array
            if terminated or truncated:
                observation, _ = env.reset()
        drawn = [_tame(env.observation_space.sample()) for _ in range(count)]
        if has_mask(env.observation_space):  # a random one may allow nothing
            drawn = [{**one, ACTION_MASK: other[ACTION_MASK]} for one, other in zip(drawn, seen, strict=True)]
        return seen + drawn


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
