"""The periodic comparison with a list: what was deleted while nobody watched gives no event, ever."""

from __future__ import annotations

import asyncio
import logging

from checkrein.control import metrics
from checkrein.control.cache import Cache, key_of
from checkrein.control.cluster import ApiError, Cluster
from checkrein.control.kinds import CHILD_SELECTOR, CHILDREN, OWN, Kind
from checkrein.control.reconciler import Reconciler

log = logging.getLogger("checkrein")


async def resync_forever(reconciler: Reconciler, cache: Cache, cluster: Cluster, seconds: float) -> None:
    """Compare every kind with a list, again and again."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await resync(reconciler, cache, cluster)
        except ApiError as error:
            log.warning("resync: %s", error)


async def resync(reconciler: Reconciler, cache: Cache, cluster: Cluster) -> None:
    """Compare every kind, owners before what they own. Raises ApiError."""
    for kind in (*OWN, *CHILDREN):
        await _compare(kind, reconciler, cache, cluster)
    metrics.RESYNCS.inc()


async def _compare(kind: Kind, reconciler: Reconciler, cache: Cache, cluster: Cluster) -> None:
    """One comparison. What the cache had before the list and the list has not is gone."""
    before = {key: obj["metadata"]["uid"] for key in cache.keys(kind.kind) if (obj := cache.get(key))}
    listed = await cluster.list(kind, "" if kind in OWN else CHILD_SELECTOR)
    present = set()
    for item in listed:
        obj = {**item, "kind": kind.kind, "apiVersion": kind.api_version}
        key = key_of(obj)
        present.add(key)
        known = cache.get(key)
        reconciler.saw(obj)
        if known is None:
            metrics.MISSED.labels(kind.kind).inc()
    for key, uid in before.items():
        known = cache.get(key)
        if key not in present and known and known["metadata"]["uid"] == uid:
            metrics.MISSED.labels(kind.kind).inc()
            reconciler.lost(key)
