"""`/v1/stream`: the messages of `/v1/act` over a WebSocket, one answer for each, in order."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable
from typing import Protocol

from checkrein.agent.asgi import Receive, Scope, Send, refuse_handshake
from checkrein.agent.auth import Caller
from checkrein.agent.connections import GOING_AWAY
from checkrein.agent.metrics import Metrics
from checkrein.agent.problems import Problem, internal, not_found
from checkrein.agent.state import State

STREAM = "/v1/stream"
POLICY_VIOLATION = 1008
log = logging.getLogger(__name__)


class Desk(Protocol):
    """Who answers. All of it raises Problem."""

    async def admit(self, scope: Scope) -> Caller:
        """Who asks, by the handshake's headers."""

    async def act(self, content: bytes, caller: Caller) -> bytes:
        """The answer to a message."""

    def message_limit(self) -> int:
        """Bytes of the largest message; raises where there is nothing to talk about yet."""


class Stream:
    """Holds conversations."""

    def __init__(self, state: State, desk: Desk, metrics: Metrics) -> None:
        self._state = state
        self._desk = desk
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One conversation, to its end."""
        await receive()  # websocket.connect
        try:
            caller = await self._open(scope)
        except Problem as problem:
            self._metrics.refused(problem.slug)
            await refuse_handshake(send, problem)
            return
        await send({"type": "websocket.accept"})
        await self._converse(scope, receive, send, caller)

    async def _open(self, scope: Scope) -> Caller:
        if scope["path"] != STREAM:
            raise not_found(scope["path"], STREAM)
        caller = await self._desk.admit(scope)
        self._desk.message_limit()
        return caller

    async def _converse(self, scope: Scope, receive: Receive, send: Send, caller: Caller) -> None:
        """Until the caller goes, may no longer ask, or the replica stops."""
        word = self._state.word
        while (message := await receive())["type"] == "websocket.receive":
            answering: Awaitable[bytes] | None = message.get("answer")  # of a message that came by the lane
            if answering is None and (word is not self._state.word or caller.expires <= time.time()):
                word = self._state.word
                try:
                    caller = await self._desk.admit(scope)
                except Problem as problem:
                    await send({"type": "websocket.send", "text": self._refusal(problem)})
                    await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": problem.slug})
                    return
            answering = answering or self._desk.act(message["bytes"], caller)
            await send({"type": "websocket.send", "text": await self._answer(answering)})
            if self._state.draining:
                await send({"type": "websocket.close", "code": GOING_AWAY, "reason": "stopping"})
                return

    async def _answer(self, answering: Awaitable[bytes]) -> str:
        try:
            return (await answering).decode()
        except Problem as problem:
            return self._refusal(problem)
        except Exception:
            log.exception("a message failed")
            return self._refusal(internal())

    def _refusal(self, problem: Problem) -> str:
        self._metrics.refused(problem.slug)
        return problem.body().decode()
