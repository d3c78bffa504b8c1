"""/livez, /readyz and /metrics of the operator."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

PORT = 8080


def app(missing: Callable[[], str], more: Callable[[], bytes] = bytes) -> Callable[..., Awaitable[None]]:
    """The ASGI application.

    `missing` tells what it takes to be ready; empty where nothing is missing. `more` are metrics beside the registry's.
    """

    async def serve(scope: dict[str, Any], _receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        # In a thread: of thousands of objects it takes a while, and the watches must go on.
        status, kind, body = await asyncio.to_thread(_answer, scope["path"], missing, more)
        headers = [(b"content-type", kind.encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return serve


def _answer(path: str, missing: Callable[[], str], more: Callable[[], bytes]) -> tuple[int, str, bytes]:
    if path == "/livez":
        return 200, "text/plain", b"ok"
    if path == "/readyz":
        what = missing()
        return (503, "text/plain", what.encode()) if what else (200, "text/plain", b"ok")
    if path == "/metrics":
        return 200, CONTENT_TYPE_LATEST, generate_latest() + more()
    return 404, "text/plain", b"not found: /livez, /readyz and /metrics are"


class _Server(uvicorn.Server):
    """Signals belong to kopf."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(missing: Callable[[], str], more: Callable[[], bytes] = bytes, port: int = PORT) -> None:
    """Serve until cancelled."""
    config = uvicorn.Config(app(missing, more), host="0.0.0.0", port=port, log_level="warning", lifespan="off")  # noqa: S104
    await _Server(config).serve()
