"""/livez, /readyz and /metrics of the operator."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

PORT = 8080


def app(ready: Callable[[], bool]) -> Callable[..., Awaitable[None]]:
    """The ASGI application. `ready` tells whether the caches are filled."""

    async def serve(scope: dict[str, Any], _receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        status, kind, body = _answer(scope["path"], ready)
        headers = [(b"content-type", kind.encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return serve


def _answer(path: str, ready: Callable[[], bool]) -> tuple[int, str, bytes]:
    if path == "/livez":
        return 200, "text/plain", b"ok"
    if path == "/readyz":
        return (200, "text/plain", b"ok") if ready() else (503, "text/plain", b"the caches are being filled")
    if path == "/metrics":
        return 200, CONTENT_TYPE_LATEST, generate_latest()
    return 404, "text/plain", b"not found: /livez, /readyz and /metrics are"


class _Server(uvicorn.Server):
    """Signals belong to kopf."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(ready: Callable[[], bool], port: int = PORT) -> None:
    """Serve until cancelled."""
    config = uvicorn.Config(app(ready), host="0.0.0.0", port=port, log_level="warning", lifespan="off")  # noqa: S104
    await _Server(config).serve()
