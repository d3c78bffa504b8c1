"""A client of one AgentDeployment. Synchronous; one instance for each thread."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx
import numpy as np

from checkrein.client.answers import Decision, Ended
from checkrein.client.errors import AgentError, InvalidRequestError, NotReadyError, UnreachableError, from_response

Ending = Literal["terminated", "truncated", "aborted"]
Token = Callable[[], str] | str | Path | None

ACT = "/v1/act"
KEEP_ALIVE_SECONDS = 30  # shorter than the agent's: a request into a connection that closes would be in doubt
FIRST_DELAY, LAST_DELAY = 0.1, 5.0


class AgentClient:
    """Asks the agent at `url` for decisions.

    `token` is a function that gives a bearer token, or the path of a file that holds one (read for each request: the
    kubelet renews it), or None. `wait` is for how many seconds a request is tried again while it is certain that no
    decision was taken: the connection was refused, or the agent said that it is not ready. A request that may have
    arrived is never sent twice.
    """

    def __init__(self, url: str, token: Token = None, *, wait: float = 30, timeout: float = 10) -> None:
        self._token = _reader(token)
        self._wait = wait
        self._http = httpx.Client(
            base_url=url,
            timeout=timeout,
            trust_env=False,
            limits=httpx.Limits(max_connections=4, keepalive_expiry=KEEP_ALIVE_SECONDS),
        )

    def act(self, observation: Any, *, episode: str | None = None, reward: float | None = None) -> Decision:
        """The next action of an episode, or the first of a new one. `reward` is that of the previous action.

        `observation` is a number, a list or an array of the observation space. Raises AgentError.
        """
        message = {"observation": jsonable(observation), "episode": episode, "reward": _number(reward)}
        return Decision.parse(self._post(message))

    def end(self, episode: str, ending: Ending, *, reward: float | None = None) -> Ended:
        """Say how an episode ended, with the reward of its last action. Raises AgentError."""
        return Ended.parse(self._post({"episode": episode, ending: True, "reward": _number(reward)}))

    def episode(self) -> Episode:
        """A new episode, to be used as a context manager."""
        return Episode(self)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _post(self, message: dict[str, Any]) -> dict[str, Any]:
        """The answer; tried again for `wait` seconds while no decision was taken."""
        content = {name: value for name, value in message.items() if value is not None}
        deadline, delay = time.monotonic() + self._wait, FIRST_DELAY
        while True:
            try:
                return self._send(content)
            except (NotReadyError, UnreachableError) as error:
                if getattr(error, "decided", False) or time.monotonic() + delay > deadline:
                    raise
            time.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            delay = min(delay * 2, LAST_DELAY)

    def _send(self, content: dict[str, Any]) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self._token()}"} if self._token else {}
        try:
            response = self._http.post(ACT, json=content, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise UnreachableError(f"{self._http.base_url} cannot be reached: {error}", decided=False) from error
        except httpx.TransportError as error:
            said = f"{type(error).__name__}: {error}"
            raise UnreachableError(f"{self._http.base_url} gave no answer: {said}", decided=True) from error
        if not response.is_success:
            raise from_response(response)
        answer: dict[str, Any] = response.json()
        return answer


class Episode:
    """One episode: keeps its token. Leaving the context without `end` aborts it."""

    def __init__(self, client: AgentClient) -> None:
        self._client = client
        self._token: str | None = None

    def act(self, observation: Any, reward: float | None = None) -> Decision:
        """The next decision; `reward` is that of the previous action. Raises AgentError."""
        decision = self._client.act(observation, episode=self._token, reward=reward)
        self._token = decision.episode
        return decision

    def end(self, ending: Ending, reward: float | None = None) -> None:
        """Say how it ended. An episode without a decision has nothing to end. Raises AgentError."""
        token, self._token = self._token, None
        if token is not None:
            self._client.end(token, ending, reward=reward)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self.end("aborted")
        except AgentError:
            if error is None:  # what broke the episode matters more than that its end could not be told
                raise


def jsonable(observation: Any) -> Any:
    """An observation as JSON data. Raises InvalidRequestError for NaN and infinities, which JSON does not have."""
    array = np.asarray(observation)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidRequestError("observation holds NaN or an infinity", problem="not-finite", field="observation")
    return (array.astype(np.int8) if array.dtype.kind == "b" else array).tolist()


def _number(reward: float | None) -> float | None:
    if reward is not None and not math.isfinite(reward):
        raise InvalidRequestError("reward is NaN or an infinity", problem="not-finite", field="reward")
    return None if reward is None else float(reward)


def _reader(token: Token) -> Callable[[], str] | None:
    if token is None or callable(token):
        return token
    path = Path(token)
    return lambda: path.read_text().strip()
