"""Random play: a record of what an environment did, for the checks to judge."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np

from checkrein.wrappers.masks import sample

Env = gymnasium.Env[Any, Any]


@dataclass
class Record:
    """What happened. `returns` and `lengths` are of complete episodes; `open_length` of the one that was given up."""

    returns: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    open_length: int = 0
    not_finite: str = ""
    steps: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Limits:
    """When to stop: after `episodes` and `least_seconds`, at the latest after `most_seconds` or in a long episode."""

    episodes: int = 5
    least_seconds: float = 0.5
    most_seconds: float = 30.0
    episode_steps: int = 100_000


def play(env: Env, seed: int, limits: Limits) -> Record:
    """Random episodes until the limits say stop, or a number is not finite."""
    record, start = Record(), time.perf_counter()
    env.action_space.seed(seed)
    while not record.not_finite and not record.open_length and not _enough(record, limits):
        _episode(env, seed + len(record.lengths), record, limits, start)
    return record


def _enough(record: Record, limits: Limits) -> bool:
    episodes = len(record.lengths)
    return record.seconds >= limits.most_seconds or (
        episodes >= limits.episodes and record.seconds >= limits.least_seconds
    )


def _episode(env: Env, seed: int, record: Record, limits: Limits, start: float) -> None:
    observation, _ = env.reset(seed=seed)
    total, length, ended = 0.0, 0, False
    record.not_finite = "" if is_finite(observation) else "the observation after reset"
    while (
        not ended and not record.not_finite and length < limits.episode_steps and record.seconds < limits.most_seconds
    ):
        observation, reward, terminated, truncated, _ = env.step(sample(env, observation))
        length, total, ended = length + 1, total + float(reward), terminated or truncated
        record.steps, record.seconds = record.steps + 1, time.perf_counter() - start
        if not (is_finite(observation) and is_finite(reward)):
            what = "the observation" if is_finite(reward) else "the reward"
            record.not_finite = f"{what} of step {length} (reset with seed {seed})"
    if ended:
        record.returns.append(total)
        record.lengths.append(length)
    else:
        record.open_length = length


def is_finite(value: Any) -> bool:
    """Whether no element is NaN or infinite."""
    if isinstance(value, dict):
        return all(map(is_finite, value.values()))
    return bool(np.isfinite(value).all())


def is_same(left: Any, right: Any) -> bool:
    """Whether two observations, rewards or ends are equal in every element."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(is_same(left[name], right[name]) for name in left)
    return np.array_equal(left, right)


def same_trajectory(first: Env, second: Env, seed: int, steps: int) -> str:
    """Where two copies differ under the same seed and actions, as words; empty where they agree for `steps` steps."""
    first.action_space.seed(seed)
    a, b = first.reset(seed=seed)[0], second.reset(seed=seed)[0]
    if not is_same(a, b):
        return "the observation after reset"
    for step in range(1, steps + 1):
        action = sample(first, a)
        x, y = first.step(action), second.step(action)
        a = x[0]
        differing = [
            name
            for name, left, right in zip(
                ("observation", "reward", "end"), (*x[:2], x[2:4]), (*y[:2], y[2:4]), strict=True
            )
            if not is_same(left, right)
        ]
        if differing:
            return f"the {differing[0]} of step {step}"
        if x[2] or x[3]:
            a, _ = first.reset()
            second.reset()
    return ""
