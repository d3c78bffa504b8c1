"""pytest's real services: started once per session, gone with the test run, however that ends."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest
from tests.cluster import images, node
from tests.cluster.cluster import Cluster, external
from tests.cluster.controlplane import ControlPlane
from tests.cluster.minio import Minio
from tests.cluster.processes import State, sweep

Seen = Callable[[], AbstractContextManager[None]]


@pytest.fixture(scope="session")
def seen(request: pytest.FixtureRequest) -> Seen:
    """Within `with seen():` what is said reaches the person who waits, past pytest's capture."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    return capture.global_and_fixture_disabled if capture else nullcontext


@pytest.fixture(scope="session")
def swept(seen: Seen) -> None:
    """What a killed run left behind is removed before this one starts anything."""
    with seen():
        sweep()


@pytest.fixture(scope="session")
def minio(swept: None, seen: Seen) -> Iterator[Minio]:
    """A MinIO process: `.endpoint` (host:port), `.access_key`, `.secret_key`."""
    state = State.create(f"minio-{os.getpid()}", owned=True)
    try:
        with seen():
            running = Minio(state)
        yield running
    finally:
        state.remove()


@pytest.fixture(scope="session")
def controlplane(swept: None, seen: Seen) -> Iterator[ControlPlane]:
    """etcd and an API server without pods: `.kubeconfig` (a path), `.kubectl(...)`, `.audit_log`."""
    state = State.create(f"controlplane-{os.getpid()}", owned=True)
    try:
        with seen():
            running = ControlPlane(state)
        yield running
    finally:
        state.remove()


@pytest.fixture(scope="session")
def cluster(swept: None, seen: Seen) -> Iterator[Cluster]:
    """A cluster that runs pods: `.kubeconfig` (a path), `.kubectl(...)`, `.images` (name -> reference).

    The one that CHECKREIN_KUBECONFIG names, else a node of this session's own.
    """
    found = external()
    if found is not None:
        with seen():
            found.load(images.build())
        yield found
        return
    with own_node("test", seen) as found:
        yield found


@contextmanager
def own_node(prefix: str, seen: Seen) -> Iterator[Cluster]:
    """A node under a free name, taken down in the end."""
    name = node.free_name(prefix)
    try:
        with seen():
            found = node.up(name, owned=True)
        yield found
    finally:
        with seen():
            node.down(name)
