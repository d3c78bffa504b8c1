"""uvicorn, twice in one process: decisions and management share one event loop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import uvicorn

from checkrein.agent.app import App
from checkrein.agent.management import Management

KEEP_ALIVE_SECONDS = 75  # longer than clients keep theirs, so that none writes into a connection that closes
GRACE_SECONDS = 10


class Listener(uvicorn.Server):
    """A uvicorn server that leaves signals to the process: there are two of it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Overrides uvicorn's handlers."""
        yield

    def close(self) -> None:
        """Finish what is being answered, then end."""
        self.should_exit = True


def listener(app: App | Management, host: str, port: int) -> Listener:
    """A server for one port."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return Listener(config)
