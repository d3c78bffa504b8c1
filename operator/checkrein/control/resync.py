"""The periodic comparison with a list: what was deleted while nobody watched gives no event, ever.

Whole objects are listed once, at the start; then names and versions, and what differs is read by itself.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence

from checkrein.control import metrics
from checkrein.control.cache import NEVER, Cache, Key, Raw, key_of
from checkrein.control.cluster import ApiError, Cluster
from checkrein.control.kinds import CHILD_SELECTOR, OWN, WATCHED, Kind
from checkrein.control.reconciler import Reconciler

log = logging.getLogger("checkrein")
JITTER = 0.25
MOST_READ = 50  # one by one; where more differ, one list of whole objects is less work for everybody


async def resync_forever(
    reconciler: Reconciler, cache: Cache, cluster: Cluster, seconds: float, namespaces: Sequence[str] = ()
) -> None:
    """Compare every kind with a list, again and again."""
    while True:
        await asyncio.sleep(seconds * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - jitter
        try:
            await resync(reconciler, cache, cluster, namespaces)
        except ApiError as error:
            metrics.RESYNC_ERRORS.inc()
            log.warning("resync: %s", error)


async def resync(reconciler: Reconciler, cache: Cache, cluster: Cluster, namespaces: Sequence[str] = ()) -> None:
    """Compare every kind, owners before what they own, in these namespaces or in all. Raises ApiError.

    A namespace that refuses the list is left as it is known: with a deleted one its Role goes, and the others go on.
    """
    with metrics.RESYNC_SECONDS.time():
        for kind in WATCHED:
            for namespace in namespaces or ("",):
                try:
                    await _compare(kind, namespace, reconciler, cache, cluster)
                except ApiError as error:
                    if error.status != 403 or not namespace:
                        raise
                    log.warning("namespace %s: %s", namespace, error)
    metrics.RESYNCS.inc()


async def _compare(kind: Kind, namespace: str, reconciler: Reconciler, cache: Cache, cluster: Cluster) -> None:
    """One comparison. Of what the cache knows at an older version than the list's, what the list has not is gone.

    A list of an API server that is behind may be old, whatever was asked for: of what is newer it tells nothing.
    """
    found = await _differing(kind, namespace, reconciler, cache, cluster) if _known(kind, namespace, cache) else None
    present, version = found or await _all(kind, namespace, reconciler, cache, cluster)
    for key in _known(kind, namespace, cache) - present:
        if reconciler.lost(key, version):
            metrics.MISSED.labels(kind.kind).inc()


def _known(kind: Kind, namespace: str, cache: Cache) -> set[Key]:
    return {key for key in cache.keys(kind.kind) if namespace in ("", key.namespace)}


async def _differing(
    kind: Kind, namespace: str, reconciler: Reconciler, cache: Cache, cluster: Cluster
) -> tuple[set[Key], int] | None:
    """Reads what the cache does not know; everybody who is there, and the list's version. None where so much differs
    that a list is better."""
    listed = await cluster.list_metadata(kind, _selector(kind), namespace)
    named = {Key(kind.kind, one.namespace, one.name): int(one.resource_version) for one in listed.items}
    unknown = [key for key, version in named.items() if not cache.knows(key, version)]
    if len(unknown) > MOST_READ:
        return None
    for key in unknown:
        if found := await cluster.get(*key):
            _saw(kind, found, reconciler, cache)
        else:
            reconciler.lost(key, named[key])
    return set(named), listed.version


async def _all(
    kind: Kind, namespace: str, reconciler: Reconciler, cache: Cache, cluster: Cluster
) -> tuple[set[Key], int]:
    """Reads all; everybody who is there, and the list's version."""
    present, version = set(), NEVER
    async for page in cluster.pages(kind, _selector(kind), namespace):
        present |= {_saw(kind, item, reconciler, cache) for item in page.items}
        version = page.version
    return present, version


def _saw(kind: Kind, item: Raw, reconciler: Reconciler, cache: Cache) -> Key:
    obj = {**item, "kind": kind.kind, "apiVersion": kind.api_version}
    key = key_of(obj)
    known = cache.get(key) is not None
    if reconciler.saw(obj) and not known:
        metrics.MISSED.labels(kind.kind).inc()
    return key


def _selector(kind: Kind) -> str:
    return "" if kind in OWN else CHILD_SELECTOR
