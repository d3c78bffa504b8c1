"""What peers do to a server below HTTP: nonsense, slowness, and more of them than there is room for."""

from __future__ import annotations

import contextlib
import json
import resource
import selectors
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.agent.replica import OBSERVATION, Replica

from checkrein.agent.connections import HEAD_BYTES, REQUEST_SECONDS, make_room
from checkrein.agent.server import MOST_CONNECTIONS

SECONDS = REQUEST_SECONDS + 60
BODY = json.dumps({"observation": OBSERVATION}).encode()
HEAD = b"POST /v1/act HTTP/1.1\r\nhost: x\r\n"
WHOLE = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
KEY = (
    b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: dGVzdHRlc3R0ZXN0dGVzdA==\r\n"
)
STREAM = b"GET /v1/stream HTTP/1.1\r\nhost: x\r\n"


@dataclass(eq=False)
class Guest:
    """Stands for a connection."""

    deadline: float
    busy: bool = False
    transport: Guest = field(init=False)
    aborted: bool = False

    def __post_init__(self) -> None:
        self.transport = self

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize(
    ("guests", "most", "room", "gone"),
    [
        pytest.param([Guest(1)], 2, True, [], id="there is room"),
        pytest.param([Guest(3), Guest(1), Guest(2)], 3, True, [1], id="the one that would go first gives way"),
        pytest.param([Guest(1, busy=True), Guest(2)], 2, True, [2], id="but none that is owed an answer"),
        pytest.param([Guest(1, busy=True)], 1, False, [], id="all are owed one: the newcomer is refused"),
    ],
)
def test_make_room(guests: list[Guest], most: int, room: bool, gone: list[float]) -> None:
    connections: set[Any] = set(guests)
    assert make_room(connections, most) == room
    assert [g.deadline for g in guests if g.aborted] == gone
    assert connections == {g for g in guests if not g.aborted}


def connect(replica: Replica) -> socket.socket:
    return socket.create_connection(("127.0.0.1", replica.port), timeout=SECONDS)


def everything(connection: socket.socket) -> bytes:
    """What comes until the peer closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65536):
            received += data
    return received


def problem(received: bytes) -> tuple[int, str]:
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower(), received
    return int(head.split()[1]), json.loads(body)["type"].rpartition("/")[2]


@pytest.mark.controlplane
@pytest.mark.store
class TestReplica:
    @pytest.mark.parametrize(
        ("sent", "status", "slug"),
        [
            pytest.param(b"hello\r\n\r\n", 400, "malformed", id="no HTTP"),
            pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "malformed", id="HTTP/2"),
            pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", 400, "malformed", id="TLS"),
            pytest.param(b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n", 400, "malformed", id="a path that is not ASCII"),
            pytest.param(
                HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n", 400, "malformed", id="two lengths"
            ),
            pytest.param(HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n", 400, "malformed", id="no chunk"),
            pytest.param(
                HEAD + b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\n{}",
                400,
                "malformed",
                id="an upgrade under which the body would be lost",
            ),
            pytest.param(HEAD + b"x: " + b"a" * 2 * HEAD_BYTES, 431, "header-too-large", id="a header without end"),
            pytest.param(HEAD + b"x: a\r\n" * HEAD_BYTES, 431, "header-too-large", id="headers without end"),
            pytest.param(
                HEAD + b"transfer-encoding: chunked\r\n\r\n1;" + b"a" * 2 * HEAD_BYTES,
                431,
                "header-too-large",
                id="a chunk extension without end",
            ),
            pytest.param(
                HEAD + b"transfer-encoding: chunked\r\n\r\n" + b"fff\r\n%b\r\n" % (b" " * 0xFFF) * 40,
                413,
                "too-large",
                id="chunks without end",
            ),
            pytest.param(STREAM + KEY.replace(b"13", b"7") + b"\r\n", 400, "bad-handshake", id="an old WebSocket"),
            pytest.param(STREAM + KEY + b"x: a\r\n" * 200 + b"\r\n", 400, "bad-handshake", id="200 headers for one"),
            pytest.param(
                STREAM.replace(b"GET", b"POST") + KEY + b"\r\n", 400, "bad-handshake", id="a WebSocket by POST"
            ),
            pytest.param(STREAM.replace(b"stream", b"x") + KEY + b"\r\n", 404, "no-such-path", id="another WebSocket"),
        ],
    )
    def test_nonsense_gets_a_problem_and_the_connection_ends(
        self, standing: Replica, sent: bytes, status: int, slug: str
    ) -> None:
        with connect(standing) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(sent)
            assert problem(everything(connection)) == (status, slug)
        assert standing.act()["action"] == 0

    def test_requests_that_are_sent_ahead_are_answered_in_order(self, standing: Replica) -> None:
        other = b"GET /v2 HTTP/1.1\r\nhost: x\r\n\r\n"
        last = WHOLE.replace(b"host: x", b"connection: close")
        with connect(standing) as connection:
            connection.sendall(WHOLE + other + last)
            answers = everything(connection).split(b"HTTP/1.1 200 OK")[1:]
        assert [b'"action"' in a for a in answers] == [True, False, True]

    def test_thousand_slow_connections_stop_nobody_and_are_ended(self, standing: Replica) -> None:
        began = [
            b"",
            b"PO",
            HEAD,
            HEAD + b"content-length: 100\r\n\r\n{",
            HEAD + b"transfer-encoding: chunked\r\n\r\n2",
        ]
        with opened(standing, 1000) as connections:
            for i, connection in enumerate(connections):
                connection.sendall(began[i % len(began)])
            assert [standing.act()["action"] for _ in range(300)] == [0] * 300
            received = [everything(connection) for connection in connections]
            assert standing.act()["action"] == 0
        assert [r for r in received[0::5] if r] == [], "who said nothing is told nothing"
        told = [problem(r) for i, r in enumerate(received) if i % 5]
        assert set(told) == {(408, "too-slow")}
        exposition = standing.get("/metrics").text
        assert 'checkrein_agent_refusals_total{problem="too-slow"} 800.0' in exposition

    def test_who_pings_and_takes_no_answers_is_ended(self, standing: Replica) -> None:
        pings = (b"\x89\xfd\0\0\0\0" + b"x" * 125) * 1000
        with connect(standing) as connection:
            connection.sendall(STREAM + KEY + b"\r\n")
            assert connection.recv(12) == b"HTTP/1.1 101"
            with pytest.raises(ConnectionError):
                connection.sendall(pings * 2000)  # 260 MB
        assert standing.act()["action"] == 0

    def test_more_connections_than_there_is_room_for_stop_nobody(self, standing: Replica) -> None:
        with opened(standing, MOST_CONNECTIONS + 100) as connections:
            connections[-1].sendall(WHOLE)
            assert connections[-1].recv(12) == b"HTTP/1.1 200"
            assert standing.act()["action"] == 0
            closed = closed_by_peer(connections)
        assert len(closed) >= 100
        assert connections[-1] not in closed
        assert set(closed) <= set(connections[:200]), "the oldest give way"
        assert standing.get("/readyz").status_code == 200


@contextlib.contextmanager
def opened(replica: Replica, count: int) -> Iterator[list[socket.socket]]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(count + 512, hard)), hard))
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(connect(replica)) for _ in range(count)]


def closed_by_peer(connections: list[socket.socket]) -> list[socket.socket]:
    """Those that can be read though nothing was asked on them."""
    with selectors.DefaultSelector() as selector:
        for connection in connections[:-1]:
            selector.register(connection, selectors.EVENT_READ)
        return [key.fileobj for key, _ in selector.select(timeout=0) if isinstance(key.fileobj, socket.socket)]
