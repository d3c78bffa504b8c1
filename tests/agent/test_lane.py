"""The short way to a decision: a real server and real tokens before a decider that answers at once, later, or not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from types import SimpleNamespace
from typing import Any

import pytest
from tests.agent.test_auth import ApiServer, token
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from checkrein.agent.app import App
from checkrein.agent.asgi import Receive, Scope, Send
from checkrein.agent.auth import Caller as Verified
from checkrein.agent.frames import needed, payload, text
from checkrein.agent.lane import Lane
from checkrein.agent.metrics import Metrics
from checkrein.agent.problems import too_many
from checkrein.agent.server import listener
from checkrein.api.deployment import Auth

PLAYER, STRANGER = (f"system:serviceaccount:{namespace}:player" for namespace in ("games", "elsewhere"))
LATER, REFUSED, BROKEN = b'"later"', b'"refused"', b'"broken"'


class Decider:
    """Answers with what it was asked and by whom: at once, or when it is let go."""

    interface = None

    def __init__(self) -> None:
        self.go = asyncio.Event()

    def limit(self) -> int:
        return 16 * 1024

    def try_act(self, content: bytes, caller: str) -> bytes | Awaitable[bytes]:
        if content == REFUSED:
            raise too_many(3)
        if content == BROKEN:
            raise RuntimeError("secret")
        answer = json.dumps({"asked": json.loads(content), "by": caller}).encode()
        return self._later(answer) if content == LATER else answer

    async def _later(self, answer: bytes) -> bytes:
        await self.go.wait()
        return answer


class Counting(App):
    """Knows how many requests and conversations took the ordinary way."""

    ordinary = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.ordinary += 1
        await super().__call__(scope, receive, send)


class Server:
    """One port, and what stands behind it."""

    def __init__(self) -> None:
        self.decider, self.metrics = Decider(), Metrics()
        self.state: Any = SimpleNamespace(draining=False)
        self.tell(Auth())
        made: Any = self.decider
        self.app = Counting(self.state, made, ApiServer().gatekeeper(), self.metrics)  # type: ignore[arg-type]
        self.listener = listener(self.app, "127.0.0.1", 0)

    def tell(self, auth: Auth) -> None:
        """A new word."""
        self.state.word = SimpleNamespace(spec=SimpleNamespace(auth=auth), metadata=SimpleNamespace(name="cartpole"))

    @property
    def port(self) -> int:
        return int(self.listener.servers[0].sockets[0].getsockname()[1])

    def refusals(self, problem: str) -> float:
        return self.metrics.registry.get_sample_value("checkrein_agent_refusals_total", {"problem": problem}) or 0


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    serving = asyncio.create_task(made.listener.serve())
    while not made.listener.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.001)
    yield made
    made.decider.go.set()
    made.listener.close()
    await serving


class Caller:
    """One HTTP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def of(cls, server: Server) -> Caller:
        return cls(*await asyncio.open_connection("127.0.0.1", server.port))

    def send(self, *pieces: bytes) -> None:
        self._writer.write(b"".join(pieces))

    async def receive(self) -> tuple[int, dict[str, str], Any]:
        """Status, headers and document of the next answer."""
        async with asyncio.timeout(30):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().splitlines()
            if head[0] == "HTTP/1.1 100 Continue":
                return await self.receive()
            headers = dict(line.lower().split(": ", 1) for line in head[1:-1])
            content = await self._reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers, json.loads(content)

    async def ask(self, body: bytes, bearer: str) -> tuple[int, dict[str, str], Any]:
        self.send(request(body, bearer))
        return await self.receive()

    async def closed(self) -> bool:
        async with asyncio.timeout(30):
            return await self._reader.read() == b""


def request(body: bytes, bearer: str, more: bytes = b"") -> bytes:
    head = b"POST /v1/act HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n%bcontent-length: %d\r\n\r\n"
    return head % (bearer.encode(), more, len(body)) + body


@pytest.fixture
async def caller(server: Server) -> Caller:
    """A connection whose caller is known by now."""
    made = await Caller.of(server)
    assert (await made.ask(b"0", token()))[2] == {"asked": 0, "by": PLAYER}
    assert server.app.ordinary == 1, "who is not known yet goes the ordinary way"
    return made


async def test_a_known_caller_is_answered_without_an_asgi_request(server: Server, caller: Caller) -> None:
    for number in (1, 2):
        status, headers, document = await caller.ask(b"%d" % number, token())
        assert (status, headers["content-type"], document["asked"]) == (200, "application/json", number)
    assert server.app.ordinary == 1
    assert (await (await Caller.of(server)).ask(b"3", token()))[0] == 200
    assert server.app.ordinary == 1, "known on one connection is known on all"


@pytest.mark.parametrize(
    ("sent", "ordinary"),
    [
        pytest.param([request(b"7", token())], 0, id="whole"),
        pytest.param([request(b"77", token())[:30], request(b"77", token())[30:]], 0, id="head in two pieces"),
        pytest.param([request(b"77", token())[:-2], b"77"], 0, id="head, then body"),
        pytest.param([request(b"77", token())[:-1], b"7"], 1, id="body in two pieces"),
        pytest.param([request(b"7", token(), b"expect: 100-continue\r\n")], 1, id="expect"),
        pytest.param([request(b"7", token(), b"authorization: Bearer x\r\n")], 1, id="a header twice"),
        pytest.param([request(b"7", token(), b"upgrade: h2c\r\n")], 1, id="an upgrade that is not asked for"),
        pytest.param([request(b"7" + b" " * 16_000, token())], 0, id="a large body"),
    ],
)
async def test_the_answer_is_the_same_by_either_way(
    server: Server, caller: Caller, sent: list[bytes], ordinary: int
) -> None:
    for piece in sent:
        caller.send(piece)
        await asyncio.sleep(0.02)  # so that they are read one by one
    status, _, document = await caller.receive()
    assert (status, str(document["asked"])[0], server.app.ordinary - 1) == (200, "7", ordinary)


async def test_too_large_a_body_is_refused(server: Server, caller: Caller) -> None:
    status, headers, document = await caller.ask(b" " * 16_500, token())
    assert (status, headers["connection"], document["type"].rpartition("/")[2]) == (413, "close", "too-large")


async def test_answers_keep_the_order_of_requests_whatever_they_wait_for(server: Server, caller: Caller) -> None:
    bodies = (b"1", LATER, b"2", REFUSED, LATER, b"3")
    caller.send(*(request(body, token()) for body in bodies))
    assert (await caller.receive())[2]["asked"] == 1
    caller.send(request(b"4", token()))
    server.decider.go.set()
    answers = [await caller.receive() for _ in range(6)]
    assert [a[2].get("asked") for a in answers] == ["later", 2, None, "later", 3, 4]
    assert [a[0] for a in answers] == [200, 200, 429, 200, 200, 200]


async def test_who_waits_holds_up_nobody_else(server: Server, caller: Caller) -> None:
    caller.send(request(LATER, token()))
    other = await Caller.of(server)
    assert (await other.ask(b"1", token()))[2]["asked"] == 1
    server.decider.go.set()
    assert (await caller.receive())[2]["asked"] == "later"
    before = server.app.ordinary
    assert (await caller.ask(b"2", token()))[2]["asked"] == 2
    assert server.app.ordinary == before, "after it the lane is free again"


async def test_refusals_are_told_and_counted_and_the_connection_goes_on(server: Server, caller: Caller) -> None:
    status, headers, document = await caller.ask(REFUSED, token())
    assert (status, headers["content-type"], headers["retry-after"]) == (429, "application/problem+json", "3")
    assert "connection" not in headers
    status, _, document = await caller.ask(BROKEN, token())
    assert (status, document["type"].rpartition("/")[2], "secret" in str(document)) == (500, "internal", False)
    assert (server.refusals("too-many"), server.refusals("internal")) == (1, 1)
    assert (await caller.ask(b"1", token()))[0] == 200
    assert server.app.ordinary == 1


async def test_each_request_of_a_connection_is_judged_by_its_own_token(server: Server, caller: Caller) -> None:
    other = token(sub="system:serviceaccount:games:other")
    bearers = (token(sub=STRANGER), token(), "nonsense", token(exp=1), other, token())
    answers = [await caller.ask(b"1", bearer) for bearer in bearers]
    assert [a[0] for a in answers] == [403, 200, 401, 401, 200, 200]
    assert [a[2].get("by") for a in answers if a[0] == 200] == [PLAYER, "system:serviceaccount:games:other", PLAYER]


async def test_the_same_token_is_judged_anew_when_the_word_changes(server: Server, caller: Caller) -> None:
    server.tell(Auth(callers=[STRANGER]))
    assert (await caller.ask(b"1", token()))[0] == 403
    server.tell(Auth(mode="None"))
    assert (await caller.ask(b"1", token()))[2]["by"] == "127.0.0.1"
    server.tell(Auth())
    assert (await caller.ask(b"1", token()))[2]["by"] == PLAYER


class Gate:
    """Knows a caller until second 100."""

    def __init__(self) -> None:
        self.now, self.asked = 0.0, 0

    def known(self, header: str, auth: Auth, peer: str) -> Verified | None:
        self.asked += 1
        return Verified(PLAYER, 100) if self.now < 100 else None


def test_a_caller_is_looked_up_once_until_the_token_expires() -> None:
    gate: Any = Gate()
    state: Any = SimpleNamespace(draining=False, word=SimpleNamespace(spec=SimpleNamespace(auth=Auth())))
    lane = Lane(state, gate, None, "10.0.0.7", clock=lambda: gate.now)  # type: ignore[arg-type]  # nobody decides
    assert [lane.caller(b"Bearer x"), lane.caller(b"Bearer x")] == [Verified(PLAYER, 100)] * 2
    assert gate.asked == 1
    gate.now = 100
    assert [lane.caller(b"Bearer x"), lane.caller(b"Bearer x")] == [None, None]
    assert gate.asked == 3, "who is not known may be by the next request"


async def test_a_replica_that_stops_answers_and_closes(server: Server, caller: Caller) -> None:
    caller.send(request(b"12", token())[:-2])
    await asyncio.sleep(0.05)  # the head is there
    server.state.draining = True
    caller.send(b"12")
    status, headers, document = await caller.receive()
    assert (status, document["asked"]) == (200, 12)
    status, headers, document = await (other := await Caller.of(server)).ask(b"1", token())
    assert (status, headers["connection"]) == (200, "close")
    assert await other.closed()


async def test_what_has_begun_to_come_is_answered_when_the_server_closes(server: Server, caller: Caller) -> None:
    caller.send(request(b"12", token())[:-2])
    await asyncio.sleep(0.05)
    server.listener.close()
    await asyncio.sleep(0.3)  # a tick of the server's
    caller.send(b"12")
    assert (await caller.receive())[2]["asked"] == 12
    assert await caller.closed()


def stream(server: Server) -> connect:
    headers = {"authorization": f"Bearer {token()}"}
    return connect(f"ws://127.0.0.1:{server.port}/v1/stream", additional_headers=headers, proxy=None)


async def told(connection: ClientConnection) -> Any:
    async with asyncio.timeout(30):
        return json.loads(await connection.recv())


async def test_messages_of_a_stream_are_answered_in_order_whatever_they_wait_for(server: Server) -> None:
    async with stream(server) as connection:
        for body in (b"1", LATER, b"2", REFUSED, b"3"):
            await connection.send(body)
        assert (await told(connection))["asked"] == 1
        server.decider.go.set()
        answers = [await told(connection) for _ in range(4)]
        assert [a.get("asked", a.get("status")) for a in answers] == ["later", 2, 429, 3]
    assert (server.app.ordinary, server.refusals("too-many")) == (1, 1)


async def test_a_message_in_fragments_or_in_pieces_is_answered(server: Server) -> None:
    async with stream(server) as connection:
        await connection.send([b"1", b"2", b"3"])
        assert (await told(connection))["asked"] == 123
        await connection.send(b"9" + b" " * 16_000)
        await connection.ping()
        await connection.send("4")
        assert [(await told(connection))["asked"] for _ in range(2)] == [9, 4]


async def test_a_stream_is_closed_after_its_answer_when_the_replica_stops(server: Server) -> None:
    async with stream(server) as connection:
        await connection.send("1")
        await told(connection)
        server.state.draining = True
        await connection.send("2")
        assert (await told(connection))["asked"] == 2
        with pytest.raises(ConnectionClosed):
            await told(connection)
    assert connection.close_code == 1001


MASK = b"\x01\x02\x03\x04"


def masked(content: bytes) -> bytes:
    head = text(content)[: -len(content)] if content else text(content)
    return bytes((head[0], head[1] | 0x80)) + head[2:] + MASK + bytes(b ^ MASK[i % 4] for i, b in enumerate(content))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 70_000])
def test_frames(size: int) -> None:
    frame = masked(b"x" * size)
    assert needed(frame + b"more", 0) == needed(b"ab" + frame, 2) == len(frame)
    assert payload(frame) == b"x" * size


@pytest.mark.parametrize(
    ("data", "size"),
    [
        pytest.param(b"", 2, id="nothing"),
        pytest.param(b"\x81", 2, id="half of what tells the size"),
        pytest.param(b"\x81\xfe\x01", 4, id="16 bits of size to come"),
        pytest.param(b"\x81\xff\0\0\0", 10, id="64 bits of size to come"),
        pytest.param(b"\x81\x85", 11, id="the size is known"),
        pytest.param(b"\x81\x05", 7, id="without a mask"),
    ],
)
def test_frames_that_are_not_whole(data: bytes, size: int) -> None:
    assert needed(data, 0) == size
