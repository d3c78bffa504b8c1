"""A server on a real socket that does to its callers what networks do, and counts what arrived."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

Answer = bytes | None  # None: the connection is closed without an answer


def http(status: int, document: dict[str, Any]) -> bytes:
    """One whole HTTP answer."""
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return f"{head}connection: close\r\n\r\n".encode() + body


def decision(number: int = 1) -> bytes:
    """A decision as an agent answers it."""
    fields = {"action": number, "episode": f"token-{number}", "decision": "d", "policy": "p-1"}
    return http(200, fields | {"explored": False, "shielded": False})


def problem(status: int, slug: str, **fields: str) -> bytes:
    """A problem as an agent answers it."""
    return http(status, {"type": f"https://checkrein.dev/problems/{slug}", "detail": "why", **fields})


class Scripted:
    """Gives the answers in order, one for each connection."""

    def __init__(self, *answers: Answer, port: int = 0) -> None:
        self._answers = list(answers)
        self._listener = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.bodies: list[dict[str, Any]] = []
        self.tokens: list[str] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Returns once every answer was asked for."""
        self._thread.join(30)
        assert not self._thread.is_alive(), f"{len(self._answers)} answers were never asked for"

    def _serve(self) -> None:
        with self._listener:
            while self._answers:
                connection, _ = self._listener.accept()
                with connection:
                    self._read(connection.makefile("rb"))
                    if answer := self._answers.pop(0):
                        connection.sendall(answer)

    def _read(self, request: Any) -> None:
        lines = list(iter(request.readline, b"\r\n"))
        headers = dict(line.decode().strip().lower().split(": ", 1) for line in lines[1:])
        self.tokens.append(headers.get("authorization", ""))
        self.bodies.append(json.loads(request.read(int(headers["content-length"]))))
