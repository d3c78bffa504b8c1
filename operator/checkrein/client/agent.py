"""A client of one AgentDeployment. Synchronous, one instance for each thread; `client.aio` has the asynchronous one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from checkrein.api.wrappers import Wrapper
from checkrein.client import messages
from checkrein.client.answers import Decision, Ended
from checkrein.client.errors import AgentError, EpisodeEndedError
from checkrein.client.messages import Ending, Request, jsonable
from checkrein.client.patience import Patience
from checkrein.client.transport import Both, Http, Transport
from checkrein.client.wire import Token
from checkrein.client.wrapping import DOCUMENT, require_same

__all__ = ["AgentClient", "Ending", "Episode", "Token", "jsonable"]


class AgentClient:
    """Asks the agent at `url` for decisions.

    `token` is a function that gives a bearer token, or the path of a file that holds one (read for each request: the
    kubelet renews it), or None. `stream`: decisions travel over one WebSocket. `timeout` bounds each try, in seconds.

    `wait` is for how many seconds a request is tried again: where the connection was refused, where the agent said
    that it took no decision, or where the answer was lost and asking twice is asking once. That holds for every request
    of an episode, whose steps have one decision each; an outcome that may have arrived is never told again.
    Raises ValueError for an address that is none of HTTP.
    """

    def __init__(
        self, url: str, token: Token = None, *, wait: float = 30, timeout: float = 10, stream: bool = False
    ) -> None:
        self._wait = wait
        self._transport: Transport = (Both if stream else Http)(url, token, timeout)

    def act(
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
        return Decision.parse(self._answer(messages.act(observation, episode, reward, cost, objective)))

    def end(
        self,
        episode: str,
        ending: Ending,
        *,
        reward: float | None = None,
        cost: float | None = None,
        objective: float | None = None,
    ) -> Ended:
        """Say how an episode ended, with the reward of its last action. Raises AgentError."""
        return Ended.parse(self._answer(messages.end(episode, ending, reward, cost, objective)))

    def outcome(self, **told: Any) -> None:
        """Tell what became known later; the arguments are those of `messages.outcome`. Raises AgentError.

        The token must be that of an account which spec.auth.reporters names.
        """
        self._answer(messages.outcome(**told))

    def episode(self) -> Episode:
        """A new episode, to be used as a context manager."""
        return Episode(self)

    def require_same(self, wrappers: Sequence[Wrapper]) -> None:
        """The agent's policy learnt behind these wrappers at Client, of an RLEnvironment's spec.wrappers.

        Raises WrapperMismatchError, AgentError.
        """
        require_same(self._answer(DOCUMENT), wrappers)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self, request: Request) -> dict[str, Any]:
        patience = Patience(request, self._wait)
        while True:
            try:
                return self._transport.send(request)
            except AgentError as error:
                pause = patience.pause(error)
            time.sleep(pause)


class Episode:
    """One episode: keeps its token. Leaving the context without `end` aborts it."""

    def __init__(self, client: AgentClient) -> None:
        self._client = client
        self._token: str | None = None

    def act(
        self,
        observation: Any,
        reward: float | None = None,
        *,
        cost: float | None = None,
        objective: float | None = None,
    ) -> Decision:
        """The next decision; the numbers are those of the previous action. Raises AgentError."""
        try:
            decision = self._client.act(observation, episode=self._token, reward=reward, cost=cost, objective=objective)
        except EpisodeEndedError:
            self._token = None
            raise
        self._token = decision.episode
        return decision

    def end(
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
            self._client.end(token, ending, reward=reward, cost=cost, objective=objective)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self.end("aborted")
        except AgentError:
            if error is None:  # what broke the episode matters more than that its end could not be told
                raise
