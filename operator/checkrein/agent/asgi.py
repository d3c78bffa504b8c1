"""The little of HTTP that both ports need, over raw ASGI 3 (asgi.readthedocs.io, "HTTP & WebSocket")."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from checkrein.agent.problems import MEDIA_TYPE, Problem, too_large

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON = b"application/json"


class DisconnectedError(Exception):
    """The caller went away before the request was complete."""


def header(scope: Scope, name: bytes) -> bytes:
    """The first header of this (lower-case) name; empty where there is none."""
    return next((value for key, value in scope["headers"] if key == name), b"")


async def body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The request's body, of at most `limit` bytes. Raises Problem, DisconnectedError."""
    length = header(scope, b"content-length")
    if length.isdigit() and int(length) > limit:
        raise too_large(limit)
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise too_large(limit)
        parts.append(part)
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def reply(
    send: Send, content: bytes, *, status: int = 200, media_type: bytes = JSON, headers: Iterable[Header] = ()
) -> None:
    """One whole answer."""
    lines = [(b"content-type", media_type), (b"content-length", b"%d" % len(content)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": content})


async def refuse(send: Send, problem: Problem, headers: Iterable[Header] = ()) -> None:
    """A problem as the answer."""
    lines = [(name.encode(), value.encode()) for name, value in problem.headers.items()]
    await reply(send, problem.body(), status=problem.status, media_type=MEDIA_TYPE, headers=[*lines, *headers])
