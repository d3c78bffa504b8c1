"""Plays episodes side by side: several copies of an environment, each over a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium

from checkrein.api.wrappers import Wrapper
from checkrein.client.aio import AsyncAgentClient
from checkrein.client.errors import AgentError, EpisodeEndedError
from checkrein.client.gymnasium_driver import REWARD_ONLY, EpisodeResult, Run, SignalError, Signals


@dataclass(frozen=True)
class Failure:
    """An episode that could not be played to its end."""

    seed: int
    error: Exception


Tell = Callable[[EpisodeResult | Failure], None]


async def play(
    connect: Callable[[], AsyncAgentClient],
    envs: Sequence[gymnasium.Env[Any, Any]],
    seeds: Iterable[int],
    tell: Tell,
    signals: Signals = REWARD_ONLY,
    wrappers: Sequence[Wrapper] = (),
) -> None:
    """One episode for each seed, as many at once as there are environments; `tell` hears of each as it ends.

    `wrappers` are those of spec.wrappers that `envs` were made with. Raises WrapperMismatchError, and plays nothing,
    where the agent expects others at Client; one that does not answer fails every episode. `connect` makes each
    copy's client. A failed episode is aborted and told; the others go on. Environments step in this thread: while one
    computes, the others wait.
    """
    try:
        async with connect() as asking:
            await asking.require_same(wrappers)
    except (AgentError, OSError) as error:
        for seed in seeds:
            tell(Failure(seed, error))
        return
    shared, clients = iter(seeds), [connect() for _ in envs]
    async with asyncio.TaskGroup() as group:
        for client, env in zip(clients, envs, strict=True):
            group.create_task(_copy(client, env, shared, tell, signals))


async def play_episode(
    client: AsyncAgentClient, env: gymnasium.Env[Any, Any], seed: int, signals: Signals = REWARD_ONLY
) -> EpisodeResult:
    """One episode from its reset to its end. Raises client.errors.AgentError, SignalError."""
    run = Run(env, seed, signals)
    async with client.episode() as episode:
        try:
            while run.ending is None:
                run.take(await episode.act(run.observation, **run.told))
        except EpisodeEndedError as error:
            return run.result(error.ending)
        await episode.end(run.ending, **run.told)
    return run.result()


async def _copy(
    client: AsyncAgentClient,
    env: gymnasium.Env[Any, Any],
    seeds: Iterator[int],
    tell: Tell,
    signals: Signals,
) -> None:
    """Plays seeds that no other copy has taken, until there are none."""
    async with client:
        for seed in seeds:
            try:
                tell(await play_episode(client, env, seed, signals))
            except (AgentError, OSError, SignalError) as error:
                tell(Failure(seed, error))
