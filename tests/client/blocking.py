"""Both clients under one set of calls, so that one suite holds for both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from checkrein.client import AgentClient, AsyncAgentClient, AsyncEpisode, Decision

Client = Callable[..., Any]  # AgentClient or Blocking


class Blocking:
    """The asynchronous client, called as the synchronous one is."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncAgentClient(*arguments, **options)

    def act(self, *arguments: Any, **told: Any) -> Decision:
        return self._runner.run(self._client.act(*arguments, **told))

    def outcome(self, **told: Any) -> None:
        self._runner.run(self._client.outcome(**told))

    def episode(self) -> BlockingEpisode:
        return BlockingEpisode(self._runner, self._client.episode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.close())
        self._runner.close()


class BlockingEpisode:
    """Likewise for an episode."""

    def __init__(self, runner: asyncio.Runner, episode: AsyncEpisode) -> None:
        self._runner, self._episode = runner, episode

    def act(self, *arguments: Any, **told: Any) -> Decision:
        return self._runner.run(self._episode.act(*arguments, **told))

    def end(self, *arguments: Any, **told: Any) -> None:
        self._runner.run(self._episode.end(*arguments, **told))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._episode.__aexit__(kind, error, trace))


CLIENTS: dict[str, Client] = {"sync": AgentClient, "async": Blocking}
