"""How an asynchronous client's requests travel: as HTTP requests, or over one WebSocket."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any, Protocol

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.protocol import State

from checkrein.client import wire
from checkrein.client.errors import UnauthenticatedError
from checkrein.client.messages import ACT, Request
from checkrein.client.wire import Token


class Transport(Protocol):
    """Brings requests to an agent."""

    async def send(self, request: Request) -> dict[str, Any]:
        """One try; the answer's JSON. Raises AgentError."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class Http:
    """A request each, over connections that are kept."""

    def __init__(self, url: str, token: Token, timeout: float) -> None:
        self._url = url
        self._headers = wire.reader(token)
        self._client = httpx.AsyncClient(**wire.http_options(url, timeout))

    async def send(self, request: Request) -> dict[str, Any]:
        """One try; the answer's JSON. Raises AgentError."""
        try:
            response = await self._client.request(
                request.method, request.path, content=request.content, headers=self._headers()
            )
        except httpx.TransportError as error:
            raise wire.http_failure(error, self._url) from error
        return wire.http_answer(response)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class Stream:
    """One WebSocket, opened when needed. After a failure nobody knows what it still carries: a new one follows."""

    def __init__(self, url: str, token: Token, timeout: float) -> None:
        self._url = wire.stream_url(url)
        self._headers = wire.reader(token)
        self._timeout = timeout
        self._turn = asyncio.Lock()
        self._context = AsyncExitStack()
        self._connection: ClientConnection | None = None

    async def send(self, request: Request) -> dict[str, Any]:
        """One try; the answer's JSON. One request at a time, whoever asks. Raises AgentError."""
        async with self._turn:
            return await self._send(request)

    async def _send(self, request: Request) -> dict[str, Any]:
        if self._connection is not None and self._connection.state is State.OPEN:
            try:
                return await self._ask(self._connection, request)
            except UnauthenticatedError:  # the token that opened the stream is no longer good; there may be another
                pass
        await self.close()
        return await self._ask(await self._open(), request)

    async def _ask(self, connection: ClientConnection, request: Request) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._timeout):
                await connection.send(request.content)
                message = await connection.recv()
        except wire.Failure as error:
            await self.close()
            raise wire.stream_failure(error, self._url) from error
        except BaseException:
            await self.close()
            raise
        return wire.stream_answer(message, self._url)

    async def _open(self) -> ClientConnection:
        headers = self._headers()
        try:
            opening = connect(self._url, **wire.stream_options(headers, self._timeout))
            self._connection = await self._context.enter_async_context(opening)
        except wire.Failure as error:
            raise wire.stream_refusal(error, self._url) from error
        return self._connection

    async def close(self) -> None:
        """Close the connection."""
        self._connection = None
        await self._context.aclose()


class Both:
    """Decisions over a WebSocket, everything else, which is rare, over HTTP."""

    def __init__(self, url: str, token: Token, timeout: float) -> None:
        self._stream = Stream(url, token, timeout)
        self._http = Http(url, token, timeout)

    async def send(self, request: Request) -> dict[str, Any]:
        """One try; the answer's JSON. Raises AgentError."""
        return await (self._stream if request.path == ACT else self._http).send(request)

    async def close(self) -> None:
        """Close the connections."""
        try:
            await self._stream.close()
        finally:
            await self._http.close()
