"""uvicorn's HTTP with what it lacks: an end to every wait, a bound on everything that a peer can make grow, and a lane.

The lane is for decisions that nothing has to be waited for: no task, no ASGI messages, one write.
One look at all connections each second (`sweep`) stands for timers: arming and disarming one for each request costs
more than reading the request does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from checkrein.agent.asgi import Application
from checkrein.agent.auth import Caller
from checkrein.agent.lane import Lane
from checkrein.agent.problems import MEDIA_TYPE, Problem, header_too_large, invalid, overloaded, too_slow

REQUEST_SECONDS = 10.0  # from a request's first byte, or a connection's first moment, to the request's last byte
ANSWER_SECONDS = 30.0  # from there until the caller has taken the answer
KEEP_ALIVE_SECONDS = 75.0  # longer than clients keep theirs, so that none writes into a connection that closes
IDLE_SECONDS = 600.0  # between two messages of a stream; whether the peer lives is found out by pings
HEAD_BYTES = 64 * 1024  # request line, headers, and what frames a body
SMALLEST_MESSAGE_LIMIT = 1024
GOING_AWAY = 1001
LANE = b"/v1/act"
LENGTH_DIGITS = 6
LANE_BYTES = 16 * 1024  # no larger than what every application takes; larger bodies come in pieces anyway
SLOWER = frozenset((b"expect", b"upgrade", b"transfer-encoding"))  # headers that ask for more than a plain answer
ANSWERED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"


@dataclass(frozen=True)
class Terms:
    """What a connection must know of the application behind it. `message_limit` may raise Problem.

    `lane` makes one for the peer at this address.
    """

    most: int
    message_limit: Callable[[], int] = lambda: SMALLEST_MESSAGE_LIMIT
    draining: Callable[[], bool] = lambda: False
    refused: Callable[[str], None] = lambda slug: None
    lane: Callable[[str], Lane] | None = None


class Guest(Protocol):
    """Either kind of connection, as far as `sweep` and `make_room` see it."""

    transport: asyncio.Transport

    @property
    def busy(self) -> bool:
        """Whether an answer is owed."""

    @property
    def deadline(self) -> float:
        """When its present wait must end, by the loop's clock."""

    def sweep(self, now: float) -> None:
        """End what has waited too long."""


def make_room(connections: set[Any], most: int) -> bool:
    """Whether one more may come: the one that would have to go first gives way, unless all are owed an answer."""
    if len(connections) < most:
        return True
    waiting: list[Guest] = [guest for guest in connections if not guest.busy]
    if not waiting:
        return False
    first = min(waiting, key=lambda guest: guest.deadline)
    connections.discard(first)
    first.transport.abort()
    return True


def raw(problem: Problem, *, close: bool = True) -> bytes:
    """A problem as the bytes of a whole answer, for where there is no ASGI conversation."""
    content = problem.body()
    headers = problem.headers | ({"connection": "close"} if close else {})
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"content-type: {MEDIA_TYPE.decode()}\r\ncontent-length: {len(content)}\r\n{lines}\r\n"
    return STATUS_LINE[problem.status] + head.encode() + content


class Connection(HttpToolsProtocol):
    """HTTP/1.1."""

    def __init__(self, terms: Terms, *, config: Config, server_state: ServerState, **options: Any) -> None:
        super().__init__(config=config, server_state=server_state, **options)
        self._terms = terms
        self._begun: float | None = None  # when the request that is being received began
        self._headed = False  # whether its head is complete
        self._since = self.loop.time()  # when the last state before that began
        self._overhead = 0
        self._closing = False
        self._used = False  # whether a whole request has come
        self._lane: Lane | None = None
        self._turn = False  # whether the lane is free: one request of each read, so that no peer keeps the loop
        self._caller: Caller | None = None  # whose request comes by the lane, while its body is awaited
        self._length, self._body = 0, b""

    @property
    def busy(self) -> bool:
        """Whether a request has been received that is not answered."""
        return self._begun is None and self._answering

    @property
    def deadline(self) -> float:
        """When its present wait must end, by the loop's clock."""
        if self._begun is not None:
            return self._begun + REQUEST_SECONDS
        if self._answering:
            return self._since + ANSWER_SECONDS
        return self._since + (KEEP_ALIVE_SECONDS if self._used else REQUEST_SECONDS)

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it in, or say that there is no room."""
        if make_room(self.connections, self._terms.most):
            super().connection_made(transport)
            if self._terms.lane:
                self._lane = self._terms.lane(self.client[0] if self.client else "")
            return
        self.transport = transport
        self._terms.refused("overloaded")
        transport.write(raw(overloaded("this replica has no room for another connection")))
        transport.close()

    def data_received(self, data: bytes) -> None:
        """Parse; what the parser keeps for itself is bounded by `HEAD_BYTES`."""
        self._overhead += len(data)
        self._turn = True
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._upgrade()
            return
        except httptools.HttpParserError:
            self._refuse(invalid("malformed", "the request is not HTTP/1.1"))
            return
        if self._overhead > HEAD_BYTES:
            self._refuse(header_too_large(HEAD_BYTES))

    def _upgrade(self) -> None:
        """To a WebSocket. Another one is ignored (RFC 9110, section 7.8), but the parser loses the body under it."""
        if self._should_upgrade():
            self.handle_websocket_upgrade()
        elif any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers):
            self._refuse(invalid("malformed", "leave out the header upgrade: this is HTTP/1.1 for all but WebSockets"))

    def on_message_begin(self) -> None:
        """A request's first byte. What ASGI must know of it is put together where it is needed."""
        self.url, self.headers = b"", []
        self._begun, self._headed = self.loop.time(), False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of its headers."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The request may be answered from now on."""
        self._headed = True
        self._caller = self._by_lane()
        if self._caller is None:
            self._ordinarily()

    def on_body(self, body: bytes) -> None:
        """A piece of the body, whose size the application bounds. One that is not all of it is none for the lane."""
        self._overhead -= len(body)
        if self._caller is not None:
            if len(body) == self._length:
                self._body = body
                return
            self._leave_lane()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request's last byte."""
        self._begun, self._since, self._overhead, self._used = None, self.loop.time(), 0, True
        if self._caller is not None:
            caller, self._caller = self._caller, None
            self._answer(caller)
        else:
            super().on_message_complete()

    def _by_lane(self) -> Caller | None:
        """Who asks for a decision, if they do so in the plainest way, and it is their turn."""
        if self._lane is None or self.url != LANE or not self._turn or self._answering or self.flow.write_paused:
            return None
        parser, fields = self.parser, dict(self.headers)
        if len(fields) != len(self.headers) or not SLOWER.isdisjoint(fields):
            return None
        if parser.get_method() != b"POST" or parser.get_http_version() != "1.1" or not parser.should_keep_alive():
            return None
        length = fields.get(b"content-length", b"")
        if not 0 < len(length) < LENGTH_DIGITS or int(length) > LANE_BYTES or self.transport.is_closing():
            return None
        self._length, self._body = int(length), b""
        return self._lane.caller(fields.get(b"authorization", b""))

    def _answer(self, caller: Caller) -> None:
        """Down the lane; an answer that is not there yet goes the ordinary way, like what is asked after it."""
        assert self._lane is not None, "a caller comes by a lane"
        self._turn = False
        answer = self._lane.answer(self._body, caller)
        if isinstance(answer, bytes):
            self.transport.write(ANSWERED % (len(answer), answer))
        elif isinstance(answer, Problem):
            self._terms.refused(answer.slug)
            self.transport.write(raw(answer, close=False))
        else:
            self._ordinarily(self._lane.later(answer))
            self.cycle.more_body = False

    def _leave_lane(self) -> None:
        self._caller = None
        self._ordinarily()

    def _ordinarily(self, app: Application | None = None) -> None:
        """uvicorn's way, with a scope and a task, through the application or the one that is given."""
        url, headers, standing = self.url, self.headers, self.app
        super().on_message_begin()
        self.url = url
        self.headers += headers
        self.expect_100_continue = any(n == b"expect" and v.lower() == b"100-continue" for n, v in headers)
        self.app = app or standing
        try:
            super().on_headers_complete()
        finally:
            self.app = standing

    def on_response_complete(self) -> None:
        """Instead of uvicorn's, which arms a timer."""
        self.server_state.total_requests += 1
        self._since = self.loop.time()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)

    def sweep(self, now: float) -> None:
        """End what has waited too long: with a problem while the request is incomplete."""
        if self.transport.is_closing():
            if self._closing:
                self.transport.abort()  # the peer does not take what is left to be written
            self._closing = True
        elif now < self.deadline:
            return
        elif self._begun is not None and (not self._headed or self._answering or self._caller):
            self._refuse(too_slow(REQUEST_SECONDS))
        elif self._answering:
            self.transport.abort()
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """The server stops. A request that has begun to come is answered first."""
        if self._caller is not None:
            self._leave_lane()
        super().shutdown()

    def _refuse(self, problem: Problem) -> None:
        """Answer past the application, and close."""
        if self._answering:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._terms.refused(problem.slug)
        self.transport.write(raw(problem))
        self.transport.close()
