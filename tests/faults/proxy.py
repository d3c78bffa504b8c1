"""An HTTP proxy with faults in between: requests are passed on whole, watches line by line."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import parse_qs, urlsplit

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

# Of one connection only (RFC 9110, section 7.6.1), or made anew from the body.
HOP = ("Connection", "Keep-Alive", "Transfer-Encoding", "TE", "Trailer", "Upgrade", "Expect", "Content-Length")
LINE_LIMIT = 2**24
STORE_USER = "operator"
"""The operator's name at the store."""

Headers = CIMultiDict[str]
Lines = AsyncIterator[bytes]


class Cut(Exception):  # noqa: N818 - what happens
    """The connection ends without an answer."""


@dataclass(frozen=True)
class Call:
    """One request. `side` says to whom: `api` or `store`."""

    side: str
    method: str
    target: str
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """Each parameter's first value."""
        parsed = parse_qs(urlsplit(self.target).query, keep_blank_values=True)
        return {name: values[0] for name, values in parsed.items()}

    @property
    def watches(self) -> bool:
        """Whether the answer is a stream of events."""
        return self.side == "api" and self.query.get("watch") == "true"

    @property
    def by_operator(self) -> bool:
        """Whether the operator asks; pods have sessions of their own."""
        return self.side == "api" or f"Credential={STORE_USER}" in self.headers.get("Authorization", "")

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return self.method not in ("GET", "HEAD")


@dataclass(frozen=True)
class Answer:
    """One answer, whole."""

    status: int
    headers: Headers = field(default_factory=CIMultiDict, repr=False)
    body: bytes = field(default=b"", repr=False)


Forward = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True)
class Way:
    """What lies behind a fault: the next one, in the end the server; and the operator's process, to be sent signals."""

    forward: Forward
    signal: Callable[[int], None]


class Fault:
    """What may happen between the two sides; this one lets everything pass."""

    async def answer(self, call: Call, way: Way) -> Answer:
        """The answer to a request. Raises Cut."""
        return await way.forward(call)

    def opening(self, call: Call) -> Answer | None:
        """What a watch is refused with, if it is."""
        return None

    def lines(self, call: Call, lines: Lines) -> Lines:
        """The lines of a watch. Raises Cut."""
        return lines


@dataclass(frozen=True)
class Exchange:
    """A request that reached the server, and what that said."""

    call: Call
    answer: Answer


class Proxy:
    """Serves on a port of `host`, in a thread of its own, until closed.

    `upstream` is http(s)://host:port; the Host header is kept, for requests to a store are signed with it. `signal`
    sends one to the operator. `faults` are passed in their order; `exchanges` are what went through.
    """

    def __init__(
        self,
        side: str,
        upstream: str,
        faults: Sequence[Fault],
        signal: Callable[[int], None],
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.exchanges: list[Exchange] = []
        self.faults = faults
        self._side = side
        self._upstream = upstream
        self._signal = signal
        self._tls = tls
        self._host = host
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._underway: set[asyncio.Task[Answer]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._thread.start()
        self._ready.wait()

    @property
    def address(self) -> str:
        """host:port."""
        return f"{self._host}:{self._port}"

    def close(self) -> None:
        """Returns once it has ended."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, ssl=self._tls or True)
        patience = aiohttp.ClientTimeout(total=None, sock_connect=5)
        async with aiohttp.ClientSession(
            connector=connector, timeout=patience, auto_decompress=False, read_bufsize=LINE_LIMIT
        ) as self._session:
            # A watch that nobody reads any more must end here, too.
            server = web.Server(self._handle, access_log=None, handler_cancellation=True)
            runner = web.ServerRunner(server, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, self._host, 0).start()
            self._port = runner.addresses[0][1]
            self._ready.set()
            await self._over.wait()
            await runner.cleanup()
            for task in self._underway:
                task.cancel()
            await asyncio.gather(*self._underway, return_exceptions=True)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        call = Call(self._side, request.method, request.raw_path, _passed_on(request.headers), body)
        try:
            refused = next(filter(None, (fault.opening(call) for fault in self.faults)), None) if call.watches else None
            if call.watches and refused is None:
                return await self._watch(request, call)
            answer = refused or await self._to_its_end(call)
        except (Cut, aiohttp.ClientError):
            if request.transport:
                request.transport.abort()
            return web.Response()
        kept = CIMultiDict(answer.headers)
        if call.method != "HEAD":
            kept.popall("Content-Length", None)
        return web.Response(status=answer.status, headers=kept, body=answer.body or None)

    async def _to_its_end(self, call: Call) -> Answer:
        """What was sent arrives, and counts, though whoever sent it is gone."""
        task = asyncio.create_task(self._answer(call))
        self._underway.add(task)
        task.add_done_callback(self._over_with)
        return await asyncio.shield(task)

    def _over_with(self, task: asyncio.Task[Answer]) -> None:
        self._underway.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may be left to hear of it

    async def _answer(self, call: Call) -> Answer:
        forward: Forward = self._send
        for fault in reversed(self.faults):
            forward = partial(fault.answer, way=Way(forward, self._signal))
        return await forward(call)

    async def _send(self, call: Call) -> Answer:
        async with self._request(call) as response:
            answer = Answer(response.status, _passed_on(response.headers, length=True), await response.read())
        self.exchanges.append(Exchange(call, answer))
        return answer

    async def _watch(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        async with self._request(call) as upstream:
            response = web.StreamResponse(status=upstream.status, headers=_passed_on(upstream.headers))
            await response.prepare(request)
            lines: Lines = aiter(upstream.content)
            for fault in reversed(self.faults):
                lines = fault.lines(call, lines)
            async for line in lines:
                await response.write(line)
            return response

    def _request(self, call: Call) -> aiohttp.client._RequestContextManager:
        return self._session.request(
            call.method,
            URL(self._upstream + call.target, encoded=True),
            headers=call.headers,
            data=call.body,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )


def _passed_on(headers: aiohttp.typedefs.LooseHeaders, *, length: bool = False) -> Headers:
    """What concerns more than one connection. Bodies are to be read here: nothing is asked for in a packed form."""
    kept: Headers = CIMultiDict(headers)
    for name in HOP:
        if not (length and name == "Content-Length"):
            kept.popall(name, None)
    kept.popall("Accept-Encoding", None)
    return kept
