"""Watches that end in ways that kopf takes for fatal, on an API server that only lists and streams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.control import builders as b

from checkrein.control import handlers
from checkrein.control.cache import Key
from checkrein.control.kinds import KINDS, NAMESPACE, WATCHED
from checkrein.control.running import cancelled

Raw = dict[str, Any]
SECONDS = 120
KIND = KINDS["TrainingJob"]
SERVED = (*WATCHED, NAMESPACE)  # without namespaces kopf does not begin
JOB: Raw = b.job().model_dump(mode="json", by_alias=True, exclude_none=True)
KEY = Key("TrainingJob", "games", "a")


class Api:
    """Discovery, lists and watches. What is wrong with TrainingJobs is so once."""

    def __init__(self) -> None:
        self.jobs: list[Raw] = []
        self.says: list[bytes | None] = []  # to their watches, the last one first; None: nothing at all
        self.refuses = {"list": 0, "watch": 0}  # status
        self.hides = False  # from discovery
        self.over = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Whatever is asked."""
        kinds = {kind.path(): kind for kind in WATCHED}
        if request.path in kinds:
            return await self._watch(request) if "watch" in request.query else self._list(kinds[request.path])
        return web.json_response(self._discovered(request.path))

    def _discovered(self, path: str) -> Raw:
        if path == "/api":
            return {"versions": ["v1"]}
        if path == "/apis":
            versions = {kind.group: {"version": kind.version} for kind in WATCHED if kind.group}
            return {"groups": [{"name": g, "versions": [v], "preferredVersion": v} for g, v in versions.items()]}
        kinds = [kind for kind in SERVED if path == kind.path().rpartition("/")[0]]
        if self.hides and KIND in kinds:
            kinds.remove(KIND)
            self.hides = False
        shown = {"singularName": "", "namespaced": True, "verbs": ["list", "watch"]}
        return {"resources": [{"name": kind.plural, "kind": kind.kind, **shown} for kind in kinds]}

    def _list(self, kind: Any) -> web.Response:
        items = self.jobs if kind is KIND else []
        if kind is KIND and (status := self._refusal("list")):
            return status
        return web.json_response({"kind": f"{kind.kind}List", "metadata": {"resourceVersion": "9"}, "items": items})

    def _refusal(self, verb: str) -> web.Response | None:
        status, self.refuses[verb] = self.refuses[verb], 0
        if not status:
            return None
        self.jobs = [JOB]
        return web.json_response({"kind": "Status", "code": status, "message": "expired"}, status=status)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        if request.path == KIND.path() and (refusal := self._refusal("watch")):
            return refusal
        stream = web.StreamResponse()
        await stream.prepare(request)
        if request.path == KIND.path() and self.says and (line := self.says.pop()) is not None:
            self.jobs = [JOB]  # only another list tells of it
            await stream.write(line + b"\n")
        await self.over.wait()
        return stream


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """Served on the loopback address, and named in the kubeconfig."""
    served, app = Api(), web.Application()
    app.router.add_route("GET", "/{path:.*}", served.answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    named = {"cluster": {"server": f"http://{host}:{port}"}, "user": {}, "context": {"cluster": "c", "user": "u"}}
    lists = {f"{what}s": [{"name": what[0], what: value}] for what, value in named.items()}
    config = {"apiVersion": "v1", "kind": "Config", "current-context": "c", **lists}
    (tmp_path / "config").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    yield served
    served.over.set()
    await runner.cleanup()


class Told:
    """What a reconciler is told."""

    def __init__(self) -> None:
        self.news: asyncio.Queue[tuple[str, Key, int]] = asyncio.Queue()

    def saw(self, obj: Raw) -> None:
        meta = obj["metadata"]
        self.news.put_nowait(("saw", Key(obj["kind"], meta["namespace"], meta["name"]), int(meta["resourceVersion"])))

    def lost(self, key: Key, version: int) -> None:
        self.news.put_nowait(("lost", key, version))


@pytest.fixture
async def told(api: Api) -> AsyncIterator[Told]:
    """Watches from the test's first wait on."""
    reconciler: Any = Told()
    watching = asyncio.create_task(handlers.watch(reconciler))
    yield reconciler
    await cancelled([watching])


def event(type_: str, obj: Raw) -> bytes:
    return json.dumps({"type": type_, "object": obj}).encode()


def status(code: int) -> Raw:
    return {"kind": "Status", "apiVersion": "v1", "code": code, "message": "a fault", "metadata": {}}


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"says": [event("ERROR", status(410))]}, id="the version has expired"),
        pytest.param({"says": [event("ERROR", status(500))]}, id="an error within the stream"),
        pytest.param({"says": [b'{"type": "ADDED", "obj']}, id="half a line"),
        pytest.param({"refuses": {"list": 0, "watch": 410}}, id="a watch is refused with 410"),
        pytest.param({"refuses": {"list": 410, "watch": 0}}, id="a list is refused with 410"),
        pytest.param({"hides": True, "jobs": [JOB]}, id="a kind that is not served at first"),
    ],
)
async def test_the_watches_begin_anew(api: Api, told: Told, wrong: Raw) -> None:
    for name, value in wrong.items():
        setattr(api, name, value)
    assert await asyncio.wait_for(told.news.get(), SECONDS) == ("saw", KEY, 7)


async def test_a_silent_watch_is_given_up(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "SILENT_SECONDS", 0.5)
    api.says = [event("ADDED", JOB), None]
    reconciler: Any = Told()
    watching = asyncio.create_task(handlers.watch(reconciler))
    assert await asyncio.wait_for(reconciler.news.get(), SECONDS) == ("saw", KEY, 7)
    await cancelled([watching])


async def test_an_end_is_told_with_its_version(api: Api, told: Told) -> None:
    api.says = [event("DELETED", {**JOB, "metadata": {**JOB["metadata"], "resourceVersion": "8"}})]
    assert await asyncio.wait_for(told.news.get(), SECONDS) == ("lost", KEY, 8)
