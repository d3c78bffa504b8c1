"""Plays gymnasium episodes whose actions an agent decides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from checkrein.client.agent import AgentClient


@dataclass(frozen=True)
class EpisodeResult:
    """One episode: its seed, sum of rewards, number of steps, and who decided, in order of appearance."""

    seed: int
    episode_return: float
    length: int
    policies: tuple[str, ...]


def play(client: AgentClient, env: gymnasium.Env[Any, Any], seeds: Iterable[int]) -> Iterator[EpisodeResult]:
    """One episode for each seed. Raises client.errors.AgentError; the episode at hand is then aborted."""
    for seed in seeds:
        yield play_episode(client, env, seed)


def play_episode(client: AgentClient, env: gymnasium.Env[Any, Any], seed: int) -> EpisodeResult:
    """One episode from its reset to its end. Raises client.errors.AgentError."""
    observation, _ = env.reset(seed=seed)
    rewards: list[float] = []
    policies: dict[str, None] = {}
    with client.episode() as episode:
        while True:
            decision = episode.act(observation, rewards[-1] if rewards else None)
            policies[decision.policy] = None
            observation, reward, terminated, truncated, _ = env.step(to_action(env.action_space, decision.action))
            rewards.append(float(reward))
            if terminated or truncated:
                episode.end("terminated" if terminated else "truncated", rewards[-1])
                return EpisodeResult(seed, float(np.sum(rewards)), len(rewards), tuple(policies))


def to_action(space: gymnasium.Space[Any], action: Any) -> Any:
    """JSON data as an action of the space: a number of its dtype, or an array."""
    array = np.asarray(action, dtype=space.dtype).reshape(space.shape)
    return array[()] if array.ndim == 0 else array
