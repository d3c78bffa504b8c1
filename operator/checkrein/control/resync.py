"""The periodic comparison with a list: what was deleted while nobody watched gives no event, ever.

Whole objects are listed once, at the start; then names and versions, and what differs is read by itself.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence

from checkrein.control import metrics
from checkrein.control.cache import Cache, Key, Raw, key_of
from checkrein.control.cluster import ApiError, Cluster
from checkrein.control.kinds import CHILD_SELECTOR, CHILDREN, OWN, Kind
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
        for kind in (*OWN, *CHILDREN):
            for namespace in namespaces or ("",):
                try:
                    await _compare(kind, namespace, reconciler, cache, cluster)
                except ApiError as error:
                    if error.status != 403 or not namespace:
                        raise
                    log.warning("namespace %s: %s", namespace, error)
    metrics.RESYNCS.inc()


async def _compare(kind: Kind, namespace: str, reconciler: Reconciler, cache: Cache, cluster: Cluster) -> None:
    """One comparison. What the cache had before the list and the list has not is gone."""
    keys = (key for key in cache.keys(kind.kind) if namespace in ("", key.namespace))
    before = {key: obj["metadata"]["uid"] for key in keys if (obj := cache.get(key))}
    present = await _differing(kind, namespace, reconciler, cache, cluster) if before else None
    if present is None:
        present = await _all(kind, namespace, reconciler, cache, cluster)
    for key, uid in before.items():
        known = cache.get(key)
        if key not in present and known and known["metadata"]["uid"] == uid:
            metrics.MISSED.labels(kind.kind).inc()
            reconciler.lost(key)


async def _differing(
    kind: Kind, namespace: str, reconciler: Reconciler, cache: Cache, cluster: Cluster
) -> set[Key] | None:
    """Reads what the cache does not know; everybody who is there. None where so much differs that a list is better."""
    listed = await cluster.list_metadata(kind, _selector(kind), namespace)
    named = {Key(kind.kind, one.namespace, one.name): one for one in listed}
    unknown = [key for key, one in named.items() if not cache.knows(key, one.uid, one.resource_version)]
    if len(unknown) > MOST_READ:
        return None
    for key in unknown:
        if found := await cluster.get(*key):
            _saw(kind, found, reconciler, cache)
    return set(named)


async def _all(kind: Kind, namespace: str, reconciler: Reconciler, cache: Cache, cluster: Cluster) -> set[Key]:
    """Reads all; everybody who is there."""
    present = set()
    async for page in cluster.pages(kind, _selector(kind), namespace):
        present |= {_saw(kind, item, reconciler, cache) for item in page}
    return present


def _saw(kind: Kind, item: Raw, reconciler: Reconciler, cache: Cache) -> Key:
    obj = {**item, "kind": kind.kind, "apiVersion": kind.api_version}
    key = key_of(obj)
    if cache.get(key) is None:
        metrics.MISSED.labels(kind.kind).inc()
    reconciler.saw(obj)
    return key


def _selector(kind: Kind) -> str:
    return "" if kind in OWN else CHILD_SELECTOR
