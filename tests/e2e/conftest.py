"""Checkrein installed on a real cluster, and a namespace of its own for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from tests.cluster.cluster import Cluster
from tests.cluster.fixtures import Seen
from tests.cluster.install import install
from tests.e2e.killer import Killer
from tests.e2e.world import World

PROBE_SECONDS = 20
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def checkrein(cluster: Cluster, seen: Seen) -> Cluster:
    """The cluster with MinIO and Checkrein, and a patience with probes that tests can wait for."""
    with seen():
        install(cluster.kubectl, cluster.images, {"timing.probeTimeout": PROBE_SECONDS, "timing.verify": 5})
    return cluster


def _world(cluster: Cluster, prefix: str) -> Iterator[World]:
    world = World(cluster, f"{prefix}-{next(_numbers)}")
    world.create()
    try:
        yield world
    finally:
        world.remove()


@pytest.fixture
def world(checkrein: Cluster) -> Iterator[World]:
    """A namespace that enforces Pod Security `restricted`, gone after the test."""
    yield from _world(checkrein, "test")


@pytest.fixture(scope="module")
def shared(checkrein: Cluster) -> Iterator[World]:
    """Likewise, for all tests of a module."""
    yield from _world(checkrein, "shared")


@pytest.fixture(scope="session")
def killer(checkrein: Cluster) -> Killer:
    """Kills containers."""
    return Killer(checkrein)
