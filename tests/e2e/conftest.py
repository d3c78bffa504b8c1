"""Checkrein installed on a real cluster, a namespace of its own for each test, and what tests of rollouts share."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping

import pytest
from tests.cluster.cluster import Cluster
from tests.cluster.fixtures import Seen
from tests.cluster.install import install, upgrade
from tests.e2e.killer import Killer
from tests.e2e.rollouts import AGENT, Agent
from tests.e2e.world import World

PROBE_SECONDS = 90  # many probes begin at once, and the check that hangs comes after imports
SETTINGS: Mapping[str, object] = {"timing.probeTimeout": PROBE_SECONDS, "timing.verify": 5}
Upgrade = Callable[[Mapping[str, object]], None]
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def checkrein(cluster: Cluster, seen: Seen) -> Cluster:
    """The cluster with MinIO and Checkrein, and a patience with probes that tests can wait for."""
    with seen():
        install(cluster.kubectl, cluster.images, SETTINGS)
    return cluster


@pytest.fixture(scope="session")
def upgraded(checkrein: Cluster) -> Upgrade:
    """`helm upgrade` of Checkrein with these values beside those of the tests; returns once the new pods serve."""
    return lambda settings: upgrade(checkrein.kubectl, checkrein.images, {**SETTINGS, **settings})


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
    """Kills and halts containers."""
    return Killer(checkrein)


@pytest.fixture(scope="module")
def policies(shared: World) -> World:
    """Three published versions. Their seeds are their own: equal bytes are one object, and another test spoils some."""
    shared.cartpole()
    for seed in (11, 12, 13):
        shared.train(f"job-{seed}", seed=seed)
        shared.trained(f"job-{seed}")
    return shared


@pytest.fixture
def agent(policies: World) -> Iterator[Agent]:
    """A deployment with a strategy that decides by the first version; gone after the test."""
    made = Agent(policies, f"agent-{next(_numbers)}")
    made.deploy()
    made.until(lambda s: s.get("stable") and s.get("readyReplicas") == 2, "deciding")
    yield made
    policies.kubectl("delete", AGENT, made.name, "--ignore-not-found")
