"""A client of one AgentDeployment for asyncio; `client.agent` has the synchronous one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from checkrein.api.wrappers import Wrapper
from checkrein.client import messages
from checkrein.client.aio_transport import Both, Http, Transport
from checkrein.client.answers import Decision, Ended
from checkrein.client.errors import AgentError, EpisodeEndedError
from checkrein.client.messages import Ending, Request
from checkrein.client.patience import Patience
from checkrein.client.wire import Token
from checkrein.client.wrapping import DOCUMENT, require_same


class AsyncAgentClient:
    """Asks the agent at `url` for decisions. Arguments are those of `AgentClient`, and so is what is asked again."""

    def __init__(
        self, url: str, token: Token = None, *, wait: float = 30, timeout: float = 10, stream: bool = False
    ) -> None:
        self._wait = wait
        self._transport: Transport = (Both if stream else Http)(url, token, timeout)

    async def act(
        self,
        observation: Any,
        *,
        episode: str | None = None,
        reward: float | None = None,
        cost: float | None = None,
        objective: float | None = None,
    ) -> Decision:
        """The next action of an episode, or the first of a new one; the numbers are those of the previous action.

        `observation` is a number, a list, an array or a dict of the observation space. Raises AgentError.
        """
        return Decision.parse(await self._answer(messages.act(observation, episode, reward, cost, objective)))

    async def end(
        self,
        episode: str,
        ending: Ending,
        *,
        reward: float | None = None,
        cost: float | None = None,
        objective: float | None = None,
    ) -> Ended:
        """Say how an episode ended, with the reward of its last action. Raises AgentError."""
        return Ended.parse(await self._answer(messages.end(episode, ending, reward, cost, objective)))

    async def outcome(self, **told: Any) -> None:
        """Tell what became known later; the arguments are those of `messages.outcome`. Raises AgentError.

        The token must be that of an account which spec.auth.reporters names.
        """
        await self._answer(messages.outcome(**told))

    def episode(self) -> AsyncEpisode:
        """A new episode, to be used as a context manager."""
        return AsyncEpisode(self)

    async def require_same(self, wrappers: Sequence[Wrapper]) -> None:
        """The agent's policy learnt behind these wrappers at Client, of an RLEnvironment's spec.wrappers.

        Raises WrapperMismatchError, AgentError.
        """
        require_same(await self._answer(DOCUMENT), wrappers)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _answer(self, request: Request) -> dict[str, Any]:
        patience = Patience(request, self._wait)
        while True:
            try:
                return await self._transport.send(request)
            except AgentError as error:
                pause = patience.pause(error)
            await asyncio.sleep(pause)


class AsyncEpisode:
    """One episode: keeps its token. Leaving the context without `end` aborts it."""

    def __init__(self, client: AsyncAgentClient) -> None:
        self._client = client
        self._token: str | None = None

    async def act(
        self,
        observation: Any,
        reward: float | None = None,
        *,
        cost: float | None = None,
        objective: float | None = None,
    ) -> Decision:
        """The next decision; the numbers are those of the previous action. Raises AgentError."""
        try:
            decision = await self._client.act(
                observation, episode=self._token, reward=reward, cost=cost, objective=objective
            )
        except EpisodeEndedError:
            self._token = None
            raise
        self._token = decision.episode
        return decision

    async def end(
        self,
        ending: Ending,
        reward: float | None = None,
        *,
        cost: float | None = None,
        objective: float | None = None,
    ) -> None:
        """Say how it ended. An episode without a decision has nothing to end. Raises AgentError."""
        token, self._token = self._token, None
        if token is not None:
            await self._client.end(token, ending, reward=reward, cost=cost, objective=objective)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            await self.end("aborted")
        except AgentError:
            if error is None:  # what broke the episode matters more than that its end could not be told
                raise
