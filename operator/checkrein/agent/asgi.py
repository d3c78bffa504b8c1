"""The little of HTTP that both ports need, over raw ASGI 3 (asgi.readthedocs.io, "HTTP & WebSocket")."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

from checkrein.agent.problems import MEDIA_TYPE, Problem, overloaded, too_large

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON = b"application/json"


class DisconnectedError(Exception):
    """The caller went away before the request was complete."""


@dataclass
class Memory:
    """Bytes that bodies which come in pieces may take together: many large ones must not exhaust the pod."""

    limit: int
    used: int = 0

    def take(self, size: int) -> None:
        """Raises Problem where there is no room."""
        if self.used + size > self.limit:
            raise overloaded("bodies that are being received take all the memory set apart for them")
        self.used += size


def header(scope: Scope, name: bytes) -> bytes:
    """The first header of this (lower-case) name; empty where there is none."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


async def body(scope: Scope, receive: Receive, limit: int, memory: Memory) -> bytes:
    """The request's body, of at most `limit` bytes. Raises Problem, DisconnectedError."""
    length = header(scope, b"content-length")
    if length.isdigit() and int(length) > limit:
        raise too_large(limit)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        content: bytes = message.get("body", b"")
        if len(content) > limit:
            raise too_large(limit)
        return content
    return await _pieces(message, receive, limit, memory)


async def _pieces(message: Message, receive: Receive, limit: int, memory: Memory) -> bytes:
    """A body from its first piece on."""
    parts, size = [], 0
    try:
        while True:
            if message["type"] == "http.disconnect":
                raise DisconnectedError
            part = message.get("body", b"")
            if size + len(part) > limit:
                raise too_large(limit)
            memory.take(len(part))
            size += len(part)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)
            message = await receive()
    finally:
        memory.used -= size


async def reply(
    send: Send, content: bytes, *, status: int = 200, media_type: bytes = JSON, headers: Iterable[Header] = ()
) -> None:
    """One whole answer."""
    lines = [(b"content-type", media_type), (b"content-length", b"%d" % len(content)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": content})


def lines(problem: Problem) -> list[Header]:
    """The headers that a problem asks for."""
    return [(name.encode(), value.encode("latin-1", "replace")) for name, value in problem.headers.items()]


async def refuse(send: Send, problem: Problem, headers: Iterable[Header] = (), *, open_inference: bool = False) -> None:
    """A problem as the answer."""
    content = problem.body(open_inference=open_inference)
    await reply(send, content, status=problem.status, media_type=MEDIA_TYPE, headers=[*lines(problem), *headers])


async def refuse_handshake(send: Send, problem: Problem) -> None:
    """A problem as the answer to who wanted to open a WebSocket (ASGI, "Denial response")."""
    content = problem.body()
    head = [(b"content-type", MEDIA_TYPE), (b"content-length", b"%d" % len(content)), *lines(problem)]
    await send({"type": "websocket.http.response.start", "status": problem.status, "headers": head})
    await send({"type": "websocket.http.response.body", "body": content})
