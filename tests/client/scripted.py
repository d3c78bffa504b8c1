"""Servers on real sockets that do to their callers what networks do, and count what arrived."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from typing import Any

from websockets.http11 import Request as Handshake
from websockets.http11 import Response
from websockets.sync.server import ServerConnection, serve

Answer = bytes | None  # None: the connection is closed without an answer


def http(status: int, document: Mapping[str, Any], **headers: str) -> bytes:
    """One whole HTTP answer."""
    body = json.dumps(document).encode()
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{more}"
    return f"{head}connection: close\r\n\r\n".encode() + body


def fields(number: int = 1) -> dict[str, Any]:
    """What a decision says."""
    known = {"action": number, "episode": f"token-{number}", "decision": "d", "policy": "p-1"}
    return known | {"explored": False, "shielded": False, "regime": "Policy"}


def decision(number: int = 1) -> bytes:
    """A decision as an agent answers it."""
    return http(200, fields(number))


def problem(status: int, slug: str, **members: str) -> bytes:
    """A problem as an agent answers it."""
    return http(status, refused(status, slug, **members))


def refused(status: int, slug: str, **members: str) -> dict[str, Any]:
    """A problem's document, as a stream carries it."""
    return {"type": f"https://checkrein.dev/problems/{slug}", "detail": "why", "status": status, **members}


class Scripted:
    """Gives the answers in order, one for each connection."""

    def __init__(self, *answers: Answer, port: int = 0) -> None:
        self._answers = list(answers)
        self._listener = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
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
        self.paths.append(lines[0].decode().split()[1])
        self.tokens.append(headers.get("authorization", ""))
        if size := int(headers.get("content-length", 0)):
            self.bodies.append(json.loads(request.read(size)))


class ScriptedStream:
    """Gives the answers in order, over as many WebSockets as are opened; None breaks the connection without one.

    `refusals` are the handshakes' answers before the first that succeeds.
    """

    def __init__(self, *answers: dict[str, Any] | None, refusals: tuple[int, ...] = ()) -> None:
        self._answers, self._refusals = list(answers), list(refusals)
        self.messages: list[dict[str, Any]] = []
        self.tokens: list[str | None] = []
        self._server = serve(self._serve, "127.0.0.1", 0, process_request=self._handshake)
        self.url = f"http://127.0.0.1:{self._server.socket.getsockname()[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Listens no longer."""
        self._server.shutdown()

    def _handshake(self, connection: ServerConnection, request: Handshake) -> Response | None:
        assert request.path == "/v1/stream"
        self.tokens.append(request.headers.get("authorization"))
        if not self._refusals:
            return None
        status = self._refusals.pop(0)
        return connection.respond(status, json.dumps(refused(status, "some-problem")))

    def _serve(self, connection: ServerConnection) -> None:
        for message in connection:
            self.messages.append(json.loads(message))
            answer = self._answers.pop(0)
            if answer is None:
                connection.socket.shutdown(socket.SHUT_RDWR)
                return
            connection.send(json.dumps(answer))
