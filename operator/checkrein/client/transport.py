"""How a synchronous client's requests travel: as HTTP requests, or over one WebSocket."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Protocol

import httpx
from websockets.protocol import State
from websockets.sync.client import ClientConnection, connect

from checkrein.client import wire
from checkrein.client.errors import UnauthenticatedError
from checkrein.client.messages import ACT, Request
from checkrein.client.wire import Token


class Transport(Protocol):
    """Brings requests to an agent."""

    def send(self, request: Request) -> dict[str, Any]:
        """One try; the answer's JSON. Raises AgentError."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class Http:
    """A request each, over connections that are kept."""

    def __init__(self, url: str, token: Token, timeout: float) -> None:
        self._url = url
        self._headers = wire.reader(token)
        self._client = httpx.Client(**wire.http_options(url, timeout))

    def send(self, request: Request) -> dict[str, Any]:
        """One try; the answer's JSON. Raises AgentError."""
        try:
            response = self._client.request(
                request.method, request.path, content=request.content, headers=self._headers()
            )
        except httpx.TransportError as error:
            raise wire.http_failure(error, self._url) from error
        return wire.http_answer(response)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class Stream:
    """One WebSocket, opened when needed. After a failure nobody knows what it still carries: a new one follows."""

    def __init__(self, url: str, token: Token, timeout: float) -> None:
        self._url = wire.stream_url(url)
        self._headers = wire.reader(token)
        self._timeout = timeout
        self._context = ExitStack()
        self._connection: ClientConnection | None = None

    def send(self, request: Request) -> dict[str, Any]:
        """One try; the answer's JSON. Raises AgentError."""
        if self._connection is not None and self._connection.state is State.OPEN:
            try:
                return self._ask(self._connection, request)
            except UnauthenticatedError:  # the token that opened the stream is no longer good; there may be another
                pass
        self.close()
        return self._ask(self._open(), request)

    def _ask(self, connection: ClientConnection, request: Request) -> dict[str, Any]:
        try:
            connection.send(request.content)
            message = connection.recv(self._timeout)
        except wire.Failure as error:
            self.close()
            raise wire.stream_failure(error, self._url) from error
        except BaseException:
            self.close()
            raise
        return wire.stream_answer(message, self._url)

    def _open(self) -> ClientConnection:
        headers = self._headers()
        try:
            opening = connect(self._url, **wire.stream_options(headers, self._timeout))
            self._connection = self._context.enter_context(opening)
        except wire.Failure as error:
            raise wire.stream_refusal(error, self._url) from error
        return self._connection

    def close(self) -> None:
        """Close the connection."""
        self._connection = None
        self._context.close()


class Both:
    """Decisions over a WebSocket, everything else, which is rare, over HTTP."""

    def __init__(self, url: str, token: Token, timeout: float) -> None:
        self._stream = Stream(url, token, timeout)
        self._http = Http(url, token, timeout)

    def send(self, request: Request) -> dict[str, Any]:
        """One try; the answer's JSON. Raises AgentError."""
        return (self._stream if request.path == ACT else self._http).send(request)

    def close(self) -> None:
        """Close the connections."""
        try:
            self._stream.close()
        finally:
            self._http.close()
