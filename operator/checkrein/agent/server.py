"""uvicorn, twice in one process: decisions and management share one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
from collections.abc import Iterator
from functools import partial
from typing import Any

import uvicorn

from checkrein.agent.app import App
from checkrein.agent.connections import Connection, Terms
from checkrein.agent.frames import Stream
from checkrein.agent.management import Management

GRACE_SECONDS = 10
TICKS = 10  # of uvicorn's loop in a second
MOST_CONNECTIONS = 2048
MOST_MANAGEMENT_CONNECTIONS = 64
FILES = 256  # beside connections: models, the log, the API server, the store
PING_SECONDS = 20.0


class Listener(uvicorn.Server):
    """A uvicorn server that leaves signals to the process, as there are two of it, and ends waits that are too long."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Overrides uvicorn's handlers."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if counter % TICKS == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                connection.sweep(now)  # type: ignore[union-attr]
        return await super().on_tick(counter)

    def close(self) -> None:
        """Finish what is being answered, then end."""
        self.should_exit = True


def room(wanted: int) -> int:
    """How many of the wanted connections the process may hold open; its own limit is raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(1, min(wanted, soft - FILES))
    return wanted


def terms(app: App | Management) -> Terms:
    """What the connections of this port must know."""
    if isinstance(app, App):
        most = room(MOST_CONNECTIONS + MOST_MANAGEMENT_CONNECTIONS) - MOST_MANAGEMENT_CONNECTIONS
        return Terms(max(1, most), app.message_limit, app.draining, app.refused, app.lane)
    return Terms(MOST_MANAGEMENT_CONNECTIONS)


def listener(app: App | Management, host: str, port: int) -> Listener:
    """A server for one port."""
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # a line for each stream tells nobody anything
    agreed = terms(app)
    http: Any = partial(Connection, agreed)
    ws: Any = partial(Stream, agreed) if isinstance(app, App) else "none"
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="none",
        http=http,
        ws=ws,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        ws_per_message_deflate=False,  # messages are short, and inflating is a way to exhaust memory
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return Listener(config)
