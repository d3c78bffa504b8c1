"""kopf as a source of events, and nothing else: it must write nothing to any object.

Only `on.event` handlers that return None, no posting, no peering, no scanning, storages that store nothing.
"""

from __future__ import annotations

from typing import Any

import kopf
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory  # kopf.operator takes one

from checkrein.control import metrics
from checkrein.control.cache import Key
from checkrein.control.kinds import CHILD_SELECTOR, CHILDREN, OWN, Kind
from checkrein.control.reconciler import Reconciler

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


class NoMemories(ResourceMemories):
    """kopf keeps 2 KB for each object for what we do not use (daemons, indices, retries): it forgets at once."""

    async def recall(self, raw_body: Any, **options: Any) -> ResourceMemory:
        return await super().recall(raw_body, **{**options, "ephemeral": True})


def settings() -> kopf.OperatorSettings:
    """kopf with everything switched off but watching."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.peering.standalone = True
    chosen.scanning.disabled = True
    chosen.queueing.idle_timeout = WORKER_SECONDS
    chosen.persistence.progress_storage = _NoProgress()
    chosen.persistence.diffbase_storage = _NoDiffBase()
    for kind in CHILDREN:
        chosen.watching.label_selectors[kind.group, kind.version, kind.plural] = CHILD_SELECTOR
    return chosen


def registry(reconciler: Reconciler) -> kopf.OperatorRegistry:
    """Handlers that tell the reconciler what the watches show."""
    made = kopf.OperatorRegistry()
    kopf.on.login(registry=made, id="login")(login)
    for kind in (*OWN, *CHILDREN):
        _watch(made, kind, reconciler)
    return made


async def login(**arguments: Any) -> Any:
    """In a pod its service account, elsewhere the kubeconfig."""
    found = kopf.login_with_service_account(**arguments)
    return found or kopf.login_with_kubeconfig(**arguments)


def _watch(made: kopf.OperatorRegistry, kind: Kind, reconciler: Reconciler) -> None:
    async def on_event(event: Any, **_: Any) -> None:
        metrics.EVENTS.labels(kind.kind).inc()
        obj = dict(event["object"])
        meta = obj["metadata"]
        if event["type"] == "DELETED":
            reconciler.lost(Key(kind.kind, meta.get("namespace", ""), meta["name"]))
        else:
            reconciler.saw({**obj, "kind": kind.kind, "apiVersion": kind.api_version})

    kopf.on.event(kind.group, kind.version, kind.plural, registry=made, id=kind.plural)(on_event)
