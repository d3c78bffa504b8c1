"""Plays gymnasium episodes whose actions an agent decides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from checkrein.api.wrappers import Wrapper
from checkrein.client.agent import AgentClient
from checkrein.client.answers import Decision
from checkrein.client.errors import EpisodeEndedError
from checkrein.client.messages import Ending


class SignalError(ValueError):
    """The environment does not say what should be told. The text names what it does say."""


@dataclass(frozen=True)
class Signals:
    """Where `env.step`'s info holds what is told beside the reward, for example `cost="cost"`; None: nowhere."""

    cost: str | None = None
    objective: str | None = None

    def of(self, info: dict[str, Any]) -> dict[str, float]:
        """What this info says. Raises SignalError where a named entry is missing."""
        named = {"cost": self.cost, "objective": self.objective}
        try:
            return {signal: float(info[key]) for signal, key in named.items() if key is not None}
        except KeyError as error:
            known = ", ".join(map(repr, info)) or "nothing"
            raise SignalError(f"the step's info holds no {error}, which should be told; it holds {known}") from error


REWARD_ONLY = Signals()


@dataclass(frozen=True)
class EpisodeResult:
    """One episode: its seed, sum of rewards, number of steps, who decided in order of appearance, and how it ended."""

    seed: int
    episode_return: float
    length: int
    policies: tuple[str, ...]
    ending: str = "terminated"


class Run:
    """One episode that is being played, whoever carries the requests.

    `observation` is the last one; `told` is what the next request says of the last action; `ending` is None while it
    goes on.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], seed: int, signals: Signals) -> None:
        self._env, self._seed, self._signals = env, seed, signals
        self._rewards: list[float] = []
        self._policies: dict[str, None] = {}
        self.told: dict[str, float] = {}
        self.ending: Ending | None = None
        self.observation, _ = env.reset(seed=seed)

    def take(self, decision: Decision) -> None:
        """Step the environment."""
        self._policies[decision.policy] = None
        action = to_action(self._env.action_space, decision.action)
        self.observation, reward, terminated, truncated, info = self._env.step(action)
        self._rewards.append(float(reward))
        self.told = {"reward": self._rewards[-1], **self._signals.of(info)}
        if terminated or truncated:
            self.ending = "terminated" if terminated else "truncated"

    def result(self, ending: str = "") -> EpisodeResult:
        """What was played; `ending` where the agent ended it."""
        total = float(np.sum(self._rewards))
        return EpisodeResult(self._seed, total, len(self._rewards), tuple(self._policies), ending or self.ending or "")


def play(
    client: AgentClient,
    env: gymnasium.Env[Any, Any],
    seeds: Iterable[int],
    signals: Signals = REWARD_ONLY,
    wrappers: Sequence[Wrapper] = (),
) -> Iterator[EpisodeResult]:
    """One episode for each seed. `wrappers` are those of spec.wrappers that `env` was made with.

    Raises WrapperMismatchError before the first where the agent expects others at Client; client.errors.AgentError,
    SignalError: the episode at hand is then aborted.
    """
    client.require_same(wrappers)
    for seed in seeds:
        yield play_episode(client, env, seed, signals)


def play_episode(
    client: AgentClient, env: gymnasium.Env[Any, Any], seed: int, signals: Signals = REWARD_ONLY
) -> EpisodeResult:
    """One episode from its reset to its end. Raises client.errors.AgentError, SignalError."""
    run = Run(env, seed, signals)
    with client.episode() as episode:
        try:
            while run.ending is None:
                run.take(episode.act(run.observation, **run.told))
        except EpisodeEndedError as error:
            return run.result(error.ending)
        episode.end(run.ending, **run.told)
    return run.result()


def to_action(space: gymnasium.Space[Any], action: Any) -> Any:
    """JSON data as an action of the space: a number of its dtype, or an array."""
    array = np.asarray(action, dtype=space.dtype).reshape(space.shape)
    return array[()] if array.ndim == 0 else array
