"""The pages of many programs, on addresses of their own, by one thread: a thread for each would be too many."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from checkrein.api.meta import Model
from checkrein.store.errors import StoreError

SECONDS = 0.05


class Programs:
    """Answers GET at each address until closed. `answer` is told path and query; None: there is no such page."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        self._over = threading.Event()
        self._workers = ThreadPoolExecutor(4)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._sockets)

    def serve(self, address: str, port: int, answer: Callable[[str], Model | None]) -> None:
        """One program more."""
        listening = socket.create_server((address, port))
        listening.setblocking(False)
        self._sockets.append(listening)
        self._selector.register(listening, selectors.EVENT_READ, answer)

    def end(self, since: int = 0) -> None:
        """Ends the programs that were begun after so many."""
        for listening in self._sockets[since:]:
            self._selector.unregister(listening)
            listening.close()
        del self._sockets[since:]

    def close(self) -> None:
        """Ends them all."""
        self._over.set()
        self._thread.join()
        self._workers.shutdown()
        self.end()

    def _run(self) -> None:
        while not self._over.is_set():
            for key, _ in self._selector.select(SECONDS):
                try:
                    connection, _ = key.fileobj.accept()  # type: ignore[union-attr]
                except OSError:  # it has just ended, or whoever called hung up
                    continue
                self._workers.submit(_reply, connection, key.data)


def _reply(connection: socket.socket, answer: Callable[[str], Model | None]) -> None:
    with connection:
        connection.settimeout(2)
        try:
            asked = connection.recv(65536).split(b" ", 2)
            page = answer(asked[1].decode()) if len(asked) > 1 else None
            body = page.model_dump_json(by_alias=True).encode() if page else b""
            status = "200 OK" if body else "404 Not Found"
            connection.sendall(f"HTTP/1.0 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        except (OSError, AssertionError, StoreError):  # an agent's session may be gone already
            return
