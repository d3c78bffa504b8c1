"""The operator process: `checkrein-operator`."""

from __future__ import annotations

import checkrein.control.lean  # noqa: F401 - before all that it makes lighter

# isort: split
import asyncio
import logging
import os
import random
import secrets
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import httpx
import uvloop
from pydantic import ValidationError

from checkrein.api.tasks import CREDENTIALS_FILE
from checkrein.control import account, apiserver, handlers, metrics, server
from checkrein.control.apiserver import ApiServer
from checkrein.control.cache import Cache, Key
from checkrein.control.cluster import ApiError, Cluster
from checkrein.control.controllers import Scope, place
from checkrein.control.definitions import Definitions
from checkrein.control.leader import Leader
from checkrein.control.queue import WorkQueue
from checkrein.control.reconciler import Reconciler, run
from checkrein.control.requests import ReadProgress
from checkrein.control.resource_metrics import Resources
from checkrein.control.resync import resync, resync_forever
from checkrein.control.running import cancelled, first_to_end
from checkrein.control.settings import Settings, load
from checkrein.control.stores import Stores
from checkrein.control.world import World

T = TypeVar("T")
WORKERS = 16
TENANT_WORKERS = 8
"""One namespace's objects that are worked on at once: its slow store or silent pods leave workers for the others."""
THREADS = 4 * WORKERS
"""For questions to the store: a pass asks some side by side, and nobody's wait for another one's."""
RETRY_SECONDS = 2.0
CREDENTIALS_VARIABLE = "CHECKREIN_CREDENTIALS"
PORT_VARIABLE = "CHECKREIN_PORT"
TOKEN_VARIABLE = "CHECKREIN_TOKEN_FILE"  # noqa: S105 - a variable's name
LEASE_VARIABLE = "CHECKREIN_LEASE"
"""NAMESPACE/NAME of the Lease by which one of several operators leads; unset: this is the only one."""
log = logging.getLogger("checkrein")


def main() -> None:
    """Run until a signal or a fault that only a restart mends."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    # That signals are not its own is as it should be.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = load()
    except (OSError, ValidationError) as error:
        sys.exit(f"the operator's settings cannot be read: {error}")
    uvloop.run(_operate(settings))


async def _operate(settings: Settings) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "store"))
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with apiserver.connected() as api, httpx.AsyncClient(trust_env=False) as http:
        definitions, filled = Definitions(Cluster(api), settings.resync_seconds), asyncio.Event()
        resources, port = Resources(Cache(), lambda: False), int(os.environ.get(PORT_VARIABLE, server.PORT))

        def missing() -> str:
            return definitions.problem or ("" if filled.is_set() else "the caches are being filled")

        # Alive from the start: while it waits for the API server, the kubelet must not take it for dead.
        tasks = [
            asyncio.create_task(_live(api, http, settings, definitions, filled, resources)),
            asyncio.create_task(server.serve(missing, resources.exposition, port)),
            asyncio.create_task(_told(stop)),
        ]
        await first_to_end(tasks)


async def _told(stop: asyncio.Event) -> None:
    await stop.wait()
    log.info("told to end")


async def _live(
    api: ApiServer,
    http: httpx.AsyncClient,
    settings: Settings,
    definitions: Definitions,
    filled: asyncio.Event,
    resources: Resources,
) -> None:
    """Work whenever the CRDs fit, each time from the start: what was seen under other ones counts for nothing."""
    name = await _cluster_name(Cluster(api))
    stores = Stores(settings, name, Path(os.environ.get(CREDENTIALS_VARIABLE, CREDENTIALS_FILE)))
    token = account.from_file(Path(os.environ.get(TOKEN_VARIABLE, account.TOKEN_FILE)))
    while True:
        filled.clear()
        await definitions.fit()
        leader = _leader(api)
        cluster = Cluster(api, leader.fence if leader else None)
        world = World(cluster, stores, http, {ReadProgress: settings.progress_seconds}, token)
        scope = Scope(Cache(), settings, name)
        metrics.LEADER.set(leader is None)
        resources.follow(scope.cache, partial(_tells, leader))
        reconciler = Reconciler(scope, _queue(scope.cache), cluster, world)
        log.info("operator of cluster %s", name)
        watching = asyncio.create_task(handlers.watch(reconciler, settings.watch_namespaces))
        work = asyncio.create_task(_work(reconciler, scope, cluster, settings, filled, leader))
        try:
            await first_to_end([work, asyncio.create_task(definitions.unfit())])
        finally:
            if leader:  # nobody works any more, so somebody else may
                await leader.release()
            await cancelled([watching])


def _tells(leader: Leader | None) -> bool:
    """Whether this operator's cache is what metrics tell of: not twice."""
    return leader is None or leader.leads


def _queue(cache: Cache) -> WorkQueue[Key]:
    metrics.CACHED.set_function(lambda: len(cache))
    rng = random.Random()  # noqa: S311 - jitter
    queue: WorkQueue[Key] = WorkQueue(time.monotonic, rng, place, TENANT_WORKERS, metrics.picked)
    metrics.QUEUE.set_function(lambda: len(queue))
    metrics.OVERDUE.set_function(lambda: queue.overdue)
    return queue


def _leader(api: ApiServer) -> Leader | None:
    lease = os.environ.get(LEASE_VARIABLE)
    if not lease:
        return None
    namespace, _, name = lease.partition("/")
    # A container that starts anew in the same pod is somebody else: its former self may still have something under way.
    identity = f"{os.environ.get('POD_NAME') or socket.gethostname()}_{secrets.token_hex(4)}"
    return Leader(Cluster(api), namespace, name, identity)


async def _once_served(look: Callable[[], Awaitable[T]]) -> T:
    """What it sees. Waits for an API server that is away, and for definitions that have come back and are not served
    yet (404, 429): to end and be started again would take up to five minutes longer. Raises ApiError."""
    while True:
        try:
            return await look()
        except ApiError as error:
            if not (error.temporary or error.status == 404):
                raise
            log.warning("waiting for the API server: %s", error)
            await asyncio.sleep(RETRY_SECONDS)


async def _cluster_name(cluster: Cluster) -> str:
    """The uid of kube-system: the one name of a cluster that nobody chose."""
    namespace = await _once_served(lambda: cluster.get("Namespace", "", "kube-system"))
    if namespace is None:
        raise RuntimeError("namespace kube-system does not exist: keys in the store need its uid")
    return str(namespace["metadata"]["uid"])


async def _work(
    reconciler: Reconciler,
    scope: Scope,
    cluster: Cluster,
    settings: Settings,
    filled: asyncio.Event,
    leader: Leader | None,
) -> None:
    """Nothing is planned before everything was seen once: a pod that is not known yet must not pass for lost."""
    namespaces = settings.watch_namespaces
    await _once_served(lambda: resync(reconciler, scope.cache, cluster, namespaces))
    filled.set()
    if leader:
        await leader.acquire()
    async with asyncio.TaskGroup() as group:
        if leader:
            group.create_task(leader.keep())
            # Nobody has compared the cache since: what was deleted meanwhile and told by no watch would be worked on.
            await _once_served(lambda: resync(reconciler, scope.cache, cluster, namespaces))
        group.create_task(run(reconciler, WORKERS))
        group.create_task(resync_forever(reconciler, scope.cache, cluster, settings.resync_seconds, namespaces))


if __name__ == "__main__":
    main()
