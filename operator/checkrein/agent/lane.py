"""The short way to a decision: where nothing has to be waited for, a connection gets its answer without an ASGI task.

It answers only what is plain. Whoever is not known yet, or may no longer ask, goes the ordinary way and is told there;
so does everybody while the replica stops.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from checkrein.agent.asgi import Application
from checkrein.agent.auth import Caller
from checkrein.agent.issuer import Gatekeeper
from checkrein.agent.problems import Problem, internal
from checkrein.agent.state import State
from checkrein.api.deployment import AgentDeployment

NOBODY = Caller("", -math.inf)
"""Expired at all times."""
log = logging.getLogger(__name__)


class Desk(Protocol):
    """Who decides."""

    def act_now(self, content: bytes, caller: str) -> bytes | Awaitable[bytes]:
        """The answer, or who will have it. Raises Problem."""

    def later(self, answer: Awaitable[bytes]) -> Application:
        """An ASGI application that gives this answer."""


class Lane:
    """That way for one connection, whose peer has this address.

    Who asks is found out once, as long as the header stays the same byte for byte, so does the deployment's word, and
    the token has not expired.
    """

    __slots__ = ("_authorization", "_caller", "_clock", "_desk", "_gatekeeper", "_peer", "_state", "_word")

    def __init__(
        self, state: State, gatekeeper: Gatekeeper, desk: Desk, peer: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._state = state
        self._gatekeeper = gatekeeper
        self._desk = desk
        self._peer = peer
        self._clock = clock
        self._authorization = b""
        self._word: AgentDeployment | None = None
        self._caller = NOBODY

    def caller(self, authorization: bytes) -> Caller | None:
        """Who asks, if that is plain and they may."""
        state = self._state
        if state.draining:
            return None
        if (
            authorization != self._authorization
            or state.word is not self._word
            or self._caller.expires <= self._clock()
        ):
            self._look(authorization)
        return self._caller if self._caller is not NOBODY else None

    def answer(self, content: bytes, caller: Caller) -> bytes | Awaitable[bytes] | Problem:
        """The answer to a message of `/v1/act`, or who will have it, or why there is none."""
        try:
            return self._desk.act_now(content, caller.subject)
        except Problem as problem:
            return problem
        except Exception:
            log.exception("a message failed")
            return internal()

    def later(self, answer: Awaitable[bytes]) -> Application:
        """An ASGI application that gives this answer."""
        return self._desk.later(answer)

    def _look(self, authorization: bytes) -> None:
        self._authorization, self._word, self._caller = authorization, self._state.word, NOBODY
        if self._word is None:
            return
        try:
            found = self._gatekeeper.known(authorization.decode("latin-1"), self._word.spec.auth, self._peer)
        except Problem:
            return
        self._caller = found or NOBODY
