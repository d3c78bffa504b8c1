"""The operator process: `checkrein-operator`."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import socket
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import kopf
import uvloop
from kubernetes.aio import client, config
from pydantic import ValidationError

from checkrein.api.tasks import CREDENTIALS_FILE
from checkrein.control import account, handlers, server
from checkrein.control.cache import Cache, Key
from checkrein.control.cluster import Cluster
from checkrein.control.controllers import Scope
from checkrein.control.leader import Leader
from checkrein.control.queue import WorkQueue
from checkrein.control.reconciler import Reconciler, run
from checkrein.control.requests import ReadProgress
from checkrein.control.resync import resync, resync_forever
from checkrein.control.settings import Settings, load
from checkrein.control.stores import Stores
from checkrein.control.world import World

WORKERS = 16
# kopf would ask the system who runs it, and the user of a restricted pod has no name.
IDENTITY: Any = "checkrein-operator"
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
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = load()
    except (OSError, ValidationError) as error:
        sys.exit(f"the operator's settings cannot be read: {error}")
    uvloop.run(_operate(settings))


async def _operate(settings: Settings) -> None:
    try:
        config.load_incluster_config()  # type: ignore[no-untyped-call]
    except config.ConfigException:
        await config.load_kube_config()  # type: ignore[no-untyped-call]
    async with client.ApiClient() as api, httpx.AsyncClient(trust_env=False) as http:
        leader = _leader(api)
        cluster = Cluster(api, leader.fence if leader else None)
        name = await _cluster_name(cluster)
        stores = Stores(settings, name, Path(os.environ.get(CREDENTIALS_VARIABLE, CREDENTIALS_FILE)))
        token = account.from_file(Path(os.environ.get(TOKEN_VARIABLE, account.TOKEN_FILE)))
        world = World(cluster, stores, http, {ReadProgress: settings.progress_seconds}, token)
        scope = Scope(Cache(), settings, name)
        queue: WorkQueue[Key] = WorkQueue(time.monotonic, random.Random())  # noqa: S311 - jitter
        reconciler = Reconciler(scope, queue, cluster, world)
        await _together(reconciler, scope, cluster, settings, leader)


def _leader(api: client.ApiClient) -> Leader | None:
    lease = os.environ.get(LEASE_VARIABLE)
    if not lease:
        return None
    namespace, _, name = lease.partition("/")
    # A container that starts anew in the same pod is somebody else: its former self may still have something under way.
    identity = f"{os.environ.get('POD_NAME') or socket.gethostname()}_{secrets.token_hex(4)}"
    return Leader(Cluster(api), namespace, name, identity)


async def _cluster_name(cluster: Cluster) -> str:
    """The uid of kube-system: the one name of a cluster that nobody chose."""
    namespace = await cluster.get("Namespace", "", "kube-system")
    if namespace is None:
        raise RuntimeError("namespace kube-system does not exist: keys in the store need its uid")
    return str(namespace["metadata"]["uid"])


async def _together(
    reconciler: Reconciler, scope: Scope, cluster: Cluster, settings: Settings, leader: Leader | None
) -> None:
    """Watches, workers, resync and the health server; when one ends, all end, and the pod starts anew."""
    filled = asyncio.Event()
    tasks = [
        asyncio.create_task(
            kopf.operator(
                registry=handlers.registry(reconciler),
                settings=handlers.settings(),
                standalone=True,
                clusterwide=True,
                identity=IDENTITY,
            )
        ),
        asyncio.create_task(_work(reconciler, scope, cluster, settings, filled, leader)),
        asyncio.create_task(server.serve(filled.is_set, int(os.environ.get(PORT_VARIABLE, server.PORT)))),
    ]
    log.info("operator of cluster %s", scope.cluster)
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    if leader:
        await leader.release()
    for task in done:
        task.result()


async def _work(
    reconciler: Reconciler,
    scope: Scope,
    cluster: Cluster,
    settings: Settings,
    filled: asyncio.Event,
    leader: Leader | None,
) -> None:
    """Nothing is planned before everything was seen once: a pod that is not known yet must not pass for lost."""
    await resync(reconciler, scope.cache, cluster)
    filled.set()
    if leader:
        await leader.acquire()
        await resync(reconciler, scope.cache, cluster)  # what the last leader wrote, watches may tell later
    async with asyncio.TaskGroup() as group:
        if leader:
            group.create_task(leader.keep())
        group.create_task(run(reconciler, WORKERS))
        group.create_task(resync_forever(reconciler, scope.cache, cluster, settings.resync_seconds))


if __name__ == "__main__":
    main()
