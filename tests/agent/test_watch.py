"""The watch protocol, scripted: what a real API server does only in bad moments."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from checkrein.agent.backoff import delay
from checkrein.agent.metrics import Contact
from checkrein.agent.watch import Event, RelistError, Watcher, lines, parse
from checkrein.api.deployment import AgentDeployment


def deployment(version: str, epoch: int = 0) -> dict[str, Any]:
    metadata = {"name": "x", "resourceVersion": version, "uid": "u", "generation": 1}
    return {"metadata": metadata, "spec": {"policyVersion": "p"}, "status": {"epoch": epoch}}


def line(kind: str, content: dict[str, Any]) -> str:
    return json.dumps({"type": kind, "object": content})


GONE = line("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"})
BOOKMARK = line("BOOKMARK", {"kind": "AgentDeployment", "metadata": {"resourceVersion": "9"}})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param(line("ADDED", deployment("5")), Event("5", deployment("5")), id="added"),
        pytest.param(line("MODIFIED", deployment("6")), Event("6", deployment("6")), id="modified"),
        pytest.param(BOOKMARK, Event("9", None), id="a bookmark says only how far"),
        pytest.param(line("DELETED", deployment("7")), Event("7", None), id="a deletion leaves the last word"),
    ],
)
def test_parse(text: str, wanted: Event) -> None:
    assert parse(text.encode()) == wanted


def test_an_error_event_starts_over() -> None:
    with pytest.raises(RelistError, match="too old"):
        parse(GONE.encode())


class Script:
    """An API server that answers each request as the script says; None: a connection that is cut."""

    def __init__(self, *answers: tuple[int, list[str]] | None) -> None:
        self._answers = list(answers)
        self.requests: list[str] = []
        self.epochs: list[int] = []
        self.done = asyncio.Event()

    def answer(self, request: httpx.Request) -> httpx.Response:
        query = dict(request.url.params)
        assert query["fieldSelector"] == "metadata.name=x"
        if "watch" in query:  # the server must end it first, else silence could not be told from a dead connection
            assert int(query["timeoutSeconds"]) < request.extensions["timeout"]["read"] < 60
        self.requests.append(
            f"watch {query['resourceVersion']}"
            if "watch" in query
            else f"list {query['resourceVersion']}"
            if "resourceVersion" in query
            else "list"
        )
        if not self._answers:
            self.done.set()
            return httpx.Response(200, content=self._silence())
        answer = self._answers.pop(0)
        if answer is None:
            raise httpx.ReadError("cut")
        status, lines = answer
        return httpx.Response(status, text="".join(f"{text}\n" for text in lines))

    async def _silence(self) -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    def heard(self, word: AgentDeployment) -> None:
        self.epochs.append(word.status.epoch)

    async def play(self) -> None:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self.answer), base_url="https://api")
        watcher = Watcher(client, "games", "x", self.heard, Contact(), random.Random(0))
        task = asyncio.create_task(watcher.run())
        await self.done.wait()
        task.cancel()


def listed(version: str, *items: dict[str, Any]) -> tuple[int, list[str]]:
    return 200, [json.dumps({"metadata": {"resourceVersion": version}, "items": items})]


async def test_a_watch_that_ends_goes_on_from_the_last_version() -> None:
    script = Script(listed("5", deployment("3", 1)), (200, [line("MODIFIED", deployment("7", 2))]), (200, [BOOKMARK]))
    await script.play()
    assert script.requests == ["list", "watch 5", "watch 7", "watch 9"]
    assert script.epochs == [1, 2]


@pytest.mark.parametrize("gone", [pytest.param((410, [""]), id="as a status"), pytest.param((200, [GONE]), id="event")])
async def test_a_version_that_is_too_old_leads_to_a_new_list_without_one(gone: tuple[int, list[str]]) -> None:
    script = Script(listed("5", deployment("3", 1)), gone, listed("8", deployment("8", 2)))
    await script.play()
    assert script.requests == ["list", "watch 5", "list", "watch 8"]
    assert script.epochs == [1, 2]


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(None, id="a cut connection"),
        pytest.param((500, ["oops"]), id="a server error"),
        pytest.param((403, ["no"]), id="rights that are not there yet"),
    ],
)
async def test_after_an_interruption_the_watch_goes_on_where_it_was(trouble: tuple[int, list[str]] | None) -> None:
    script = Script(trouble, listed("5", deployment("5", 1)), trouble, (200, [line("MODIFIED", deployment("6", 2))]))
    await script.play()
    assert script.requests == ["list", "list", "watch 5", "watch 5", "watch 6"]
    assert script.epochs == [1, 2]


@pytest.mark.parametrize("nonsense", ["{not json", '{"type":"MODIFIED"}', '"text"', "[]"])
async def test_after_nonsense_the_watch_starts_over_so_that_it_cannot_meet_it_for_ever(nonsense: str) -> None:
    script = Script((200, [nonsense]), listed("5", deployment("5", 1)), (200, [nonsense]), listed("6"))
    await script.play()
    assert script.requests == ["list", "list", "watch 5", "list", "watch 6"]


async def test_line_separators_of_unicode_do_not_split_an_event() -> None:
    content = deployment("6", 2)
    content["status"]["conditions"] = [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Fine",
            "message": "a\u0085b\u2028c",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ]
    text = json.dumps({"type": "MODIFIED", "object": content}, ensure_ascii=False)
    script = Script(listed("5"), (200, [text]))
    await script.play()
    assert (script.requests, script.epochs) == (["list", "watch 5", "watch 6"], [2])


async def test_lines_are_put_together_from_any_chunks() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in (b"on", b"e\ntwo\nth", b"", b"ree\n", b"cut"):
            yield chunk

    assert [line async for line in lines(chunks())] == [b"one", b"two", b"three"]


async def test_an_object_that_cannot_be_read_is_passed_over() -> None:
    bad = deployment("6") | {"spec": {}}
    lines = [line("MODIFIED", bad), line("MODIFIED", deployment("7", 3))]
    script = Script(listed("5"), (200, lines))
    await script.play()
    assert (script.requests, script.epochs) == (["list", "watch 5", "watch 7"], [3])


def test_delays_double_to_a_limit_and_are_spread() -> None:
    rng = random.Random(0)
    for failures, ceiling in ((1, 0.2), (2, 0.4), (5, 3.2), (50, 15.0), (5000, 15.0)):
        drawn = [delay(failures, rng) for _ in range(200)]
        assert ceiling / 2 <= min(drawn) < max(drawn) <= ceiling
        assert max(drawn) - min(drawn) > ceiling / 4
