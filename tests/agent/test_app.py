"""The application alone, where a replica would have to be made slow or full: what it sheds, and what it holds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from types import SimpleNamespace
from typing import Any

import pytest

from checkrein.agent.app import MOST_IN_FLIGHT, App
from checkrein.agent.asgi import DisconnectedError, Memory, Message, body
from checkrein.agent.issuer import Gatekeeper
from checkrein.agent.metrics import Metrics
from checkrein.agent.problems import Problem
from checkrein.api.deployment import Auth


class SlowDecider:
    """Decides when it is let go."""

    interface = None

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.asked = 0

    def limit(self) -> int:
        return 100

    def try_act(self, content: bytes, caller: str) -> Awaitable[bytes]:
        self.asked += 1
        return self._act()

    async def _act(self) -> bytes:
        await self.go.wait()
        return b"{}"


def app(decider: Any) -> App:
    word = SimpleNamespace(spec=SimpleNamespace(auth=Auth(mode="None")), metadata=SimpleNamespace(name="cartpole"))
    state: Any = SimpleNamespace(word=word, draining=False, ready=True)
    gatekeeper: Any = Gatekeeper(None, "games")  # type: ignore[arg-type]  # nobody is asked for a token
    return App(state, decider, gatekeeper, Metrics())


async def post(made: App, *parts: bytes) -> tuple[int, dict[str, str], Any]:
    """Status, headers and document."""
    incoming, sent = messages(*parts), []

    async def receive() -> Message:
        return incoming.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/v1/act", "method": "POST", "headers": [], "client": ("10.0.0.7", 1)}
    await made(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, json.loads(sent[1]["body"])


def messages(*parts: bytes) -> list[Message]:
    return [{"type": "http.request", "body": p, "more_body": i < len(parts) - 1} for i, p in enumerate(parts)]


async def test_more_requests_than_can_be_worked_on_are_shed_at_once() -> None:
    decider = SlowDecider()
    made = app(decider)
    waiting = [asyncio.create_task(post(made, b"{}")) for _ in range(MOST_IN_FLIGHT)]
    await asyncio.sleep(0)
    status, headers, document = await post(made, b"{}")
    assert (status, headers["retry-after"], document["type"].rpartition("/")[2]) == (503, "1", "overloaded")
    decider.go.set()
    assert {answer[0] for answer in await asyncio.gather(*waiting)} == {200}
    assert (await post(made, b"{}"))[0] == 200, "when there is room again it goes on"
    assert decider.asked == MOST_IN_FLIGHT + 1


@pytest.mark.parametrize(
    ("parts", "memory", "wanted"),
    [
        pytest.param([b"whole"], 0, b"whole", id="in one piece"),
        pytest.param([b"a", b"b", b""], 2, b"ab", id="in pieces"),
        pytest.param([b"x" * 11], 0, "too-large", id="too large at once"),
        pytest.param([b"x" * 6, b"x" * 5], 99, "too-large", id="too large in pieces"),
        pytest.param([b"a", b"b", b"c"], 2, "overloaded", id="no memory left for it"),
    ],
)
async def test_body(parts: list[bytes], memory: int, wanted: bytes | str) -> None:
    incoming, room = messages(*parts), Memory(memory)

    async def receive() -> Message:
        return incoming.pop(0)

    try:
        got: bytes | str = await body({"headers": []}, receive, 10, room)
    except Problem as problem:
        got = problem.slug
    assert got == wanted
    assert room.used == 0, "what was taken is given back"


async def test_a_caller_that_goes_away_gives_its_memory_back() -> None:
    incoming, room = [*messages(b"a", b"")[:1], {"type": "http.disconnect"}], Memory(10)

    async def receive() -> Message:
        return incoming.pop(0)

    with pytest.raises(DisconnectedError):
        await body({"headers": []}, receive, 10, room)
    assert room.used == 0


async def test_a_fault_is_told_without_its_cause() -> None:
    class Broken(SlowDecider):
        def try_act(self, content: bytes, caller: str) -> Awaitable[bytes]:
            raise RuntimeError("secret")

    status, _, document = await post(app(Broken()), b"{}")
    assert (status, document["type"].rpartition("/")[2]) == (500, "internal")
    assert "secret" not in json.dumps(document)
