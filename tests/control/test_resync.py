"""The comparison with a list, and what the edge makes of answers."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import kopf
import pytest
from tests.control import builders as b

from checkrein.control.apiserver import connected
from checkrein.control.cache import Cache, Key
from checkrein.control.cluster import ApiError, Cluster, Listed, NameTaken, Page, is_same_work
from checkrein.control.conditions import Transition
from checkrein.control.controllers import Scope
from checkrein.control.events import NOTE_LIMIT, event
from checkrein.control.kinds import KINDS, WATCHED, Kind
from checkrein.control.queue import WorkQueue
from checkrein.control.reconciler import Reconciler
from checkrein.control.resync import resync
from checkrein.control.workloads.pods import task_variable

KEY = Key("TrainingJob", "games", "a")


def seen(version: str, uid: str = "a-uid") -> dict[str, Any]:
    """TrainingJob a as a watch shows it."""
    obj: dict[str, Any] = b.job().model_dump(mode="json", by_alias=True, exclude_none=True)
    obj["metadata"] |= {"resourceVersion": version, "uid": uid}
    return {"apiVersion": "checkrein.dev/v1alpha1", "kind": "TrainingJob", **obj}


class Listing:
    """An API server that has some TrainingJobs, at some version; `meanwhile` happens while it answers.

    `lists`: what its lists show, where that is something older.
    """

    def __init__(self, *jobs: dict[str, Any], version: int = 10, lists: Any = None) -> None:
        self.jobs = jobs
        self.version = version
        self.lists = lists
        self.whole = self.read = 0
        self.meanwhile: Any = lambda: None

    async def list(self, kind: Kind, label_selector: str = "", namespace: str = "") -> list[dict[str, Any]]:
        """As Cluster.list."""
        if namespace == "forbidden":
            raise ApiError(403, "Forbidden", "no Role there")
        if kind.kind != "TrainingJob" or namespace not in ("", KEY.namespace):
            return []
        self.meanwhile()
        shown = self.jobs if self.lists is None else self.lists
        return [{k: v for k, v in job.items() if k not in ("kind", "apiVersion")} for job in shown]

    async def pages(self, kind: Kind, label_selector: str = "", namespace: str = "") -> AsyncIterator[Page[Any]]:
        """As Cluster.pages: one page."""
        self.whole += 1
        yield Page(await self.list(kind, label_selector, namespace), self.version)

    async def list_metadata(self, kind: Kind, label_selector: str = "", namespace: str = "") -> Page[Listed]:
        """As Cluster.list_metadata."""
        metas = [job["metadata"] for job in await self.list(kind, label_selector, namespace)]
        return Page([Listed(m["name"], m["uid"], m["resourceVersion"], m["namespace"]) for m in metas], self.version)

    async def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """As Cluster.get."""
        self.read += 1
        return next((j for j in self.jobs if j["metadata"]["name"] == name), None)


def operator() -> tuple[Reconciler, Cache, WorkQueue[Key]]:
    """A reconciler that has not been told of anything."""
    cache, queue = Cache(), WorkQueue[Key](lambda: 0.0, random.Random(0))
    never: Any = SimpleNamespace()
    return Reconciler(Scope(cache, b.SETTINGS, b.CLUSTER), queue, never, never), cache, queue


@pytest.mark.parametrize(
    ("known", "listed", "version", "woken"),
    [
        pytest.param(None, seen("5"), "5", True, id="new -> remembered"),
        pytest.param(seen("4"), seen("5"), "5", True, id="changed -> remembered"),
        pytest.param(seen("5"), seen("5"), "5", False, id="as known -> nothing"),
        pytest.param(seen("6"), seen("5"), "6", False, id="a watch knows better -> nothing"),
        pytest.param(seen("4"), None, None, True, id="gone -> forgotten"),
        pytest.param(seen("4", "old"), seen("5", "new"), "5", True, id="another one of that name -> remembered"),
        pytest.param(seen("11"), None, "11", False, id="newer than the list -> not gone"),
        pytest.param(
            seen("11", "new"), seen("5", "old"), "11", False, id="newer than its namesake in the list -> stays"
        ),
    ],
)
async def test_resync(known: Any, listed: Any, version: str | None, woken: bool) -> None:
    reconciler, cache, queue = operator()
    if known:
        cache.put(known)
    api: Any = Listing(*([listed] if listed else []))
    await resync(reconciler, cache, api)
    now = cache.get(KEY)
    assert (now["metadata"]["resourceVersion"] if now else None) == version
    assert (len(queue) == 1) is woken


async def test_what_is_known_is_not_read_again() -> None:
    reconciler, cache, _ = operator()
    cache.put(seen("4"))
    api: Any = Listing(seen("4"))
    await resync(reconciler, cache, api)
    assert (api.whole, api.read) == (len(WATCHED) - 1, 0), "whole lists of what nothing is known of, names else"
    api.jobs = (seen("5"),)
    await resync(reconciler, cache, api)
    assert (api.whole, api.read) == (2 * (len(WATCHED) - 1), 1), "the one that changed is read"


async def test_where_much_differs_all_is_listed() -> None:
    reconciler, cache, _ = operator()
    cache.put(seen("4"))
    api: Any = Listing(*(changed_name(seen("5"), f"b{n}") for n in range(100)))
    await resync(reconciler, cache, api)
    assert (api.whole, api.read) == (len(WATCHED), 0)
    assert {key.name for key in cache.keys("TrainingJob")} == {f"b{n}" for n in range(100)}


def changed_name(obj: dict[str, Any], name: str) -> dict[str, Any]:
    return {**obj, "metadata": {**obj["metadata"], "name": name, "uid": f"{name}-uid"}}


@pytest.mark.parametrize(
    ("before", "meanwhile"),
    [
        pytest.param(None, seen("11"), id="created while the list was made"),
        pytest.param(seen("4", "old"), seen("11", "new"), id="created anew while the list was made"),
    ],
)
async def test_what_a_watch_shows_while_the_list_is_made_is_not_lost(before: Any, meanwhile: Any) -> None:
    reconciler, cache, _ = operator()
    if before:
        cache.put(before)
    api: Any = Listing()
    api.meanwhile = lambda: reconciler.saw(meanwhile)
    await resync(reconciler, cache, api)
    assert cache.get(KEY) == meanwhile


async def test_what_an_old_list_shows_again_does_not_come_back() -> None:
    reconciler, cache, _ = operator()
    cache.put(seen("4"))
    reconciler.lost(KEY, 7)
    other = changed_name(seen("6"), "b")
    cache.put(other)
    api: Any = Listing(other, lists=(seen("4"), other), version=6)
    await resync(reconciler, cache, api)
    assert (cache.get(KEY), api.read) == (None, 0), "its end is known"
    assert {key.name for key in cache.keys("TrainingJob")} == {"b"}


async def test_what_only_the_list_shows_is_gone() -> None:
    reconciler, cache, _ = operator()
    cache.put(seen("4"))
    api: Any = Listing(lists=(seen("5"),))
    await resync(reconciler, cache, api)
    assert (cache.get(KEY), api.read) == (None, 1), "a read by name does not find it"


@pytest.mark.parametrize(
    ("namespaces", "version"),
    [
        pytest.param(["games"], "5", id="its namespace is watched -> remembered"),
        pytest.param(["other"], "4", id="another one is watched -> nothing is asked, nothing forgotten"),
        pytest.param(["forbidden", "games"], "5", id="another one refuses -> remembered"),
    ],
)
async def test_a_resync_of_some_namespaces(namespaces: list[str], version: str) -> None:
    reconciler, cache, _ = operator()
    cache.put(seen("4"))
    unseen = seen("7")
    unseen["metadata"]["namespace"] = "forbidden"
    cache.put(unseen)
    api: Any = Listing(seen("5"))
    await resync(reconciler, cache, api, namespaces)
    now = cache.get(KEY)
    assert now
    assert now["metadata"]["resourceVersion"] == version
    assert cache.get(KEY._replace(namespace="forbidden")) == unseen, "what refuses to be listed is not gone"


@pytest.mark.parametrize(
    ("error", "temporary"),
    [
        pytest.param(ApiError(0, "Unreachable", "m"), True, id="no answer"),
        pytest.param(ApiError(409, "Conflict", "m"), True, id="conflict"),
        pytest.param(ApiError(410, "Expired", "m"), True, id="a list's next page has expired"),
        pytest.param(ApiError(429, "TooManyRequests", "m"), True, id="too many requests"),
        pytest.param(ApiError(500, "InternalError", "m"), True, id="server error"),
        pytest.param(ApiError(403, "Forbidden", "m"), False, id="forbidden"),
        pytest.param(ApiError(422, "Invalid", "m"), False, id="invalid"),
        pytest.param(NameTaken("Job", "j"), False, id="name taken, though it is a conflict"),
    ],
)
def test_which_errors_may_pass(error: ApiError, temporary: bool) -> None:
    assert error.temporary is temporary
    assert len(ApiError(500, "r", "x" * 5000).message) <= 1024


async def test_a_server_that_is_away_is_an_error_of_ours() -> None:
    async with connected(kopf.ConnectionInfo(server="http://127.0.0.1:1")) as api:
        with pytest.raises(ApiError) as raised:
            await Cluster(api).get("Job", "games", "j")
    assert (raised.value.status, raised.value.reason, raised.value.temporary) == (0, "Unreachable", True)


def owned(*uids: str) -> dict[str, Any]:
    return {"metadata": {"ownerReferences": [{"uid": uid} for uid in uids]}}


def published(uid: str) -> dict[str, Any]:
    return {"metadata": {}, "spec": {"provenance": {"uid": uid}}}


@pytest.mark.parametrize(
    ("existing", "wanted", "same"),
    [
        pytest.param(owned("a"), owned("a"), True, id="one owner"),
        pytest.param(owned("b", "a"), owned("a"), True, id="one owner among others"),
        pytest.param(owned("b"), owned("a"), False, id="another owner, or a namesake of an earlier life"),
        pytest.param({"metadata": {}}, owned("a"), False, id="nobody's"),
        pytest.param(published("a"), published("a"), True, id="one TrainingJob's policy"),
        pytest.param(published("b"), published("a"), False, id="another TrainingJob's policy"),
    ],
)
def test_what_is_the_same_work(existing: dict[str, Any], wanted: dict[str, Any], same: bool) -> None:
    assert is_same_work(existing, wanted) is same


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (KINDS["Pod"].path(), "/api/v1/pods"),
        (KINDS["Pod"].path("games", "p", "status"), "/api/v1/namespaces/games/pods/p/status"),
        (KINDS["Namespace"].path("", "kube-system"), "/api/v1/namespaces/kube-system"),
        (KINDS["Job"].path("games"), "/apis/batch/v1/namespaces/games/jobs"),
    ],
)
def test_paths(path: str, wanted: str) -> None:
    assert path == wanted


def test_an_event_is_bounded_and_never_empty() -> None:
    obj = seen("5")
    assert len(event(obj, Transition("Normal", "R", "x" * 5000), b.NOW)["note"]) == NOTE_LIMIT
    assert event(obj, Transition("Normal", "Published", ""), b.NOW)["note"] == "Published"


def test_a_users_text_is_not_expanded_by_the_kubelet() -> None:
    task = b.environment(source={"gymnasium": {"id": "CartPole-v1", "kwargs": {"text": "$(HOME)"}}})
    assert '"$$(HOME)"' in task_variable(task)["value"]
