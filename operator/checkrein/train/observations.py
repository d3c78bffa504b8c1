"""Observations to compare an exported policy on."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np

from checkrein.api.environment import RLEnvironmentSpec
from checkrein.wrappers.environments import make_environment

EXTREME = 100.0
"""Unbounded spaces are sampled within this: beyond it rounding alone tells two runtimes apart."""


def gather(spec: RLEnvironmentSpec, count: int, seed: int) -> list[Any]:
    """`count` observations of random play, and as many drawn from the observation space."""
    with closing(make_environment(spec)) as env:
        env.action_space.seed(seed)
        env.observation_space.seed(seed)
        seen = [env.reset(seed=seed)[0]]
        while len(seen) < count:
            observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
            seen.append(np.array(observation))
            if terminated or truncated:
                env.reset()
        return seen + [_tame(env.observation_space.sample()) for _ in range(count)]


def _tame(observation: Any) -> Any:
    if np.issubdtype(np.asarray(observation).dtype, np.floating):
        return np.clip(observation, -EXTREME, EXTREME)
    return observation
