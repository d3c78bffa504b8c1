"""A TCP proxy that a test can cut: an API server that is away, or silent, for one replica only."""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import urlsplit

from tests.cluster.processes import free_port


class Proxy:
    """Forwards connections to `target` (https://host:port) while it is open."""

    def __init__(self, target: str) -> None:
        address = urlsplit(target)
        self._target = (str(address.hostname), int(address.port or 443))
        self._port = free_port()
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []
        self.open()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    def open(self) -> None:
        """Listen, again on the same port after `cut`."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Refuse new connections and end those that stand, as a killed server does."""
        with self._lock:
            for connection in (self._listener, *self._connections):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                connection.close()
            self._connections.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self._target)
                with self._lock:
                    if listener.fileno() < 0:  # cut meanwhile: this connection must not outlive it
                        near.close()
                        far.close()
                        return
                    self._connections += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
