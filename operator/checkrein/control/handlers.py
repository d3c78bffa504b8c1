"""kopf as a source of events, and nothing else: it must write nothing to any object.

Only `on.event` handlers that return None, no posting, no peering, no scanning, storages that store nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import kopf
from kopf._cogs.structs.references import Insights
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory  # kopf.operator takes one

from checkrein.control import apiserver, metrics
from checkrein.control.cache import Key, version_of
from checkrein.control.cluster import PAGE
from checkrein.control.kinds import CHILD_SELECTOR, CHILDREN, WATCHED, Kind
from checkrein.control.reconciler import Reconciler

Tell = Callable[..., object]
"""Calls a function with arguments in the reconciler's thread, in order."""
log = logging.getLogger("checkrein")
# kopf would ask the system who runs it, and the user of a restricted pod has no name.
IDENTITY: Any = "checkrein-operator"
AGAIN_SECONDS = 1.0
CANCELLATIONS = 5
REQUEST_SECONDS, CONNECT_SECONDS = 30, 10
WATCH_SECONDS = 300
"""Then a watch goes on at whichever API server answers."""
SILENT_SECONDS = 70
"""An API server sends a bookmark in each minute: a watch without a word for so long is dead."""
WORKER_SECONDS = 0.2
"""kopf's task for an object lives on for so long after an event, with the whole object; a list makes thousands."""


class _NoProgress(kopf.ProgressStorage):
    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


class _NoDiffBase(kopf.DiffBaseStorage):
    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


class _Patience:
    """Seconds between the tries of one request, without end: to give up would end the watches of all kinds."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((0.5, 1, 2, 4), itertools.repeat(8))


class NoMemories(ResourceMemories):
    """kopf keeps 2 KB for each object for what we do not use (daemons, indices, retries): it forgets at once."""

    async def recall(self, raw_body: Any, **options: Any) -> ResourceMemory:
        return await super().recall(raw_body, **{**options, "ephemeral": True})


async def watch(reconciler: Reconciler, namespaces: Sequence[str] = ()) -> None:
    """Tell the reconciler what happens, until cancelled; in these namespaces or in all.

    What kopf takes for fatal (a version that has expired, an error within a stream, a kind that is not served) is not:
    it lists and watches anew, and the cache, which never goes back, takes from that what is news. It runs in a thread
    with a loop of its own: when it ends it ends whatever runs beside it, and it takes the signals of the main thread.
    """
    tell: Tell = asyncio.get_running_loop().call_soon_threadsafe
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    threading.Thread(target=_serve, args=(loop,), name="watches", daemon=True).start()
    try:
        while True:
            again = asyncio.run_coroutine_threadsafe(_watch_once(reconciler, tell, namespaces, stop), loop)
            over = asyncio.wrap_future(again)
            try:
                await asyncio.shield(over)
            except Exception as error:  # noqa: BLE001 - kopf's, aiohttp's, and whatever a malformed answer leads to
                log.warning("the watches begin anew: %s: %s", type(error).__name__, error)
            await asyncio.sleep(AGAIN_SECONDS)
    finally:
        loop.call_soon_threadsafe(stop.set)
        await asyncio.wait([over])
        loop.call_soon_threadsafe(loop.stop)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


async def _watch_once(reconciler: Reconciler, tell: Tell, namespaces: Sequence[str], stop: asyncio.Event) -> None:
    """Returns once `stop` is set. Raises whatever ends one of kopf's tasks."""
    insights = Insights()
    tasks = await kopf.spawn_tasks(
        registry=registry(reconciler, tell),
        settings=settings(),
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
        identity=IDENTITY,
        memories=NoMemories(),
        insights=insights,
    )
    own = [asyncio.create_task(_all_served(insights)), asyncio.create_task(stop.wait())]
    done, _ = await asyncio.wait([*tasks, *own], return_when=asyncio.FIRST_COMPLETED)
    await _all_end()
    for task in done:
        task.result()


async def _all_end() -> None:
    """Ends all other tasks of this loop. kopf's own way to end waits for watches that wait for a session it has closed,
    and some of its tasks swallow a cancellation."""
    for _ in range(CANCELLATIONS):
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if not others or not (await asyncio.wait(others, timeout=1))[1]:
            return


async def _all_served(insights: Insights) -> None:
    """Does not return. Raises LookupError where a kind is not served (yet): kopf would never watch it."""
    await insights.ready_resources.wait()
    served = {(resource.group, resource.plural) for resource in insights.watched_resources}
    if missing := [kind.plural for kind in WATCHED if (kind.group, kind.plural) not in served]:
        raise LookupError(f"the API server does not serve {', '.join(missing)}")
    await asyncio.Event().wait()


def settings() -> kopf.OperatorSettings:
    """kopf with everything switched off but watching."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.peering.standalone = True
    chosen.scanning.disabled = True
    chosen.queueing.idle_timeout = WORKER_SECONDS
    chosen.networking.request_timeout = REQUEST_SECONDS
    chosen.networking.connect_timeout = CONNECT_SECONDS
    chosen.networking.error_backoffs = _Patience()
    chosen.watching.inactivity_timeout = SILENT_SECONDS
    chosen.watching.chunk_size = PAGE
    chosen.watching.server_timeout = WATCH_SECONDS
    chosen.watching.client_timeout = WATCH_SECONDS + REQUEST_SECONDS
    chosen.process.ultimate_exiting_timeout = None  # else it kills its thread ten minutes after the watches ended
    chosen.persistence.progress_storage = _NoProgress()
    chosen.persistence.diffbase_storage = _NoDiffBase()
    for kind in CHILDREN:
        chosen.watching.label_selectors[kind.group, kind.version, kind.plural] = CHILD_SELECTOR
    return chosen


def registry(reconciler: Reconciler, tell: Tell) -> kopf.OperatorRegistry:
    """Handlers that tell the reconciler what the watches show."""
    made = kopf.OperatorRegistry()
    kopf.on.login(registry=made, id="login")(apiserver.login)
    for kind in WATCHED:
        _watch(made, kind, reconciler, tell)
    return made


def _watch(made: kopf.OperatorRegistry, kind: Kind, reconciler: Reconciler, tell: Tell) -> None:
    async def on_event(event: Any, **_: Any) -> None:
        metrics.EVENTS.labels(kind.kind).inc()
        obj = dict(event["object"])
        meta = obj["metadata"]
        if event["type"] == "DELETED":
            tell(reconciler.lost, Key(kind.kind, meta.get("namespace", ""), meta["name"]), version_of(obj))
        else:
            tell(reconciler.saw, {**obj, "kind": kind.kind, "apiVersion": kind.api_version})

    kopf.on.event(kind.group, kind.version, kind.plural, registry=made, id=kind.plural)(on_event)
