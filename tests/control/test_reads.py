"""What a pass is planned on is never older than what this process has read or written itself."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from tests.control import builders as b

from checkrein.control.cache import Cache, Key
from checkrein.control.cluster import ApiError
from checkrein.control.controllers import Scope
from checkrein.control.queue import WorkQueue
from checkrein.control.reconciler import Reconciler

Raw = dict[str, Any]
SECONDS = 60


def raw(obj: Any, version: int) -> Raw:
    """The object as the API server shows it at this version."""
    made: Raw = obj.model_dump(mode="json", by_alias=True, exclude_none=True)
    made["metadata"]["resourceVersion"] = str(version)
    return {"apiVersion": "checkrein.dev/v1alpha1", "kind": type(obj).__name__, **made}


NEW, PROBED = raw(b.environment(), 5), raw(b.ready_environment(), 9)
LAST = raw(b.job(status=b.ended("Complete", "Published")), 3)
"""A status is to be written of it; that it is tells that all that was due before it is done."""
LAST["metadata"]["generation"] = 7


class Api:
    """An API server as one worker sees it. `reads`: what a read by name finds, first of all and then; None: a 404."""

    def __init__(self, *reads: Raw | None) -> None:
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        self.reads = list(reads)
        self.conflicts = 0
        self.last = LAST

    async def get(self, kind: str, namespace: str, name: str) -> Raw | None:
        """As Cluster.get."""
        if kind == LAST["kind"]:
            return self.last
        self.asked.put_nowait(f"get {kind}")
        return self.reads.pop(0) if len(self.reads) > 1 else self.reads[0]

    async def create(self, obj: Raw) -> Raw:
        """As Cluster.create."""
        self.asked.put_nowait(f"create {obj['kind']}")
        return {**obj, "metadata": {**obj["metadata"], "uid": "made", "resourceVersion": "6"}}

    async def apply_status(self, obj: Raw, status: Raw) -> Raw:
        """As Cluster.apply_status."""
        self.asked.put_nowait("last" if obj["kind"] == LAST["kind"] else "status")
        if self.conflicts:
            self.conflicts -= 1
            raise ApiError(409, "Conflict", "the object has been modified")
        version = str(int(obj["metadata"]["resourceVersion"]) + 2)
        return {**obj, "metadata": {**obj["metadata"], "resourceVersion": version}, "status": status}

    async def until_quiet(self, reconciler: Reconciler) -> list[str]:
        """What is asked for what is due by now."""
        self.last = {**LAST, "metadata": {**LAST["metadata"], "name": f"{self.last['metadata']['name']}a"}}
        reconciler.saw(self.last)
        asked: list[str] = []
        while (word := await asyncio.wait_for(self.asked.get(), SECONDS)) != "last":
            asked.append(word)
        return asked


Begin = Callable[..., Reconciler]


@pytest.fixture
async def begin() -> AsyncIterator[Begin]:
    """Reconcilers with one worker each, to which the environment was shown."""
    workers = []

    def begun(api: Any, shown: Raw = NEW) -> Reconciler:
        queue = WorkQueue[Key](time.monotonic, random.Random(0))
        nothing: Any = SimpleNamespace()
        reconciler = Reconciler(Scope(Cache(), b.SETTINGS, b.CLUSTER), queue, api, nothing)
        reconciler.saw(shown)
        workers.append(asyncio.create_task(reconciler.work()))
        return reconciler

    yield begun
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


@pytest.mark.parametrize(
    ("found", "asked"),
    [
        pytest.param(NEW, ["get RLEnvironment", "create Job", "status", "create Event"], id="as it was -> begun"),
        pytest.param(PROBED, ["get RLEnvironment"], id="further -> not begun again"),
        pytest.param(None, ["get RLEnvironment"], id="gone -> nothing"),
    ],
)
async def test_an_old_list_at_the_start(begin: Begin, found: Raw | None, asked: list[str]) -> None:
    api = Api(found)
    assert await api.until_quiet(begin(api)) == asked


async def test_for_what_is_at_rest_nothing_is_asked(begin: Begin) -> None:
    api = Api(PROBED)
    assert await api.until_quiet(begin(api, PROBED)) == []


async def test_after_a_conflict_it_is_read_by_name(begin: Begin) -> None:
    api = Api(NEW, PROBED)
    api.conflicts = 1
    reconciler = begin(api)
    for word in ("get RLEnvironment", "create Job", "status", "get RLEnvironment"):
        assert await asyncio.wait_for(api.asked.get(), SECONDS) == word
    assert await api.until_quiet(reconciler) == []


async def test_what_it_has_made_it_does_not_make_again(begin: Begin) -> None:
    api = Api(NEW)
    reconciler = begin(api)
    assert await api.until_quiet(reconciler) == ["get RLEnvironment", "create Job", "status", "create Event"]
    assert await api.until_quiet(reconciler) == ["status"], "the pass that its own write has woken knows the Job"


async def test_after_a_child_is_gone_the_owner_is_read_by_name(begin: Begin) -> None:
    """It may be gone itself, and its own watch tell so later: nothing is made for it again."""
    api = Api(NEW, None)
    reconciler = begin(api)
    assert await api.until_quiet(reconciler) == ["get RLEnvironment", "create Job", "status", "create Event"]
    assert await api.until_quiet(reconciler) == ["status"]
    reconciler.lost(Key("Job", NEW["metadata"]["namespace"], "cartpole-probe-1"), 20)
    assert await api.until_quiet(reconciler) == ["get RLEnvironment"]
