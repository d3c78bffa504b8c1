"""One control plane and one store for all trials, and how scenarios end without faults."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.api.server import Server
from tests.cluster.controlplane import ControlPlane
from tests.cluster.minio import Minio
from tests.cluster.processes import State
from tests.control.conftest import named_kubeconfig
from tests.faults.proxy import STORE_USER
from tests.faults.scenarios import SCENARIOS
from tests.faults.scenes import World
from tests.faults.trials import Outcome, Trial, play_all, told

from checkrein.api.tasks import StoreCredentials, StoreLocation
from checkrein.store.install import install

JOBS = 2 * (os.cpu_count() or 1)  # most of a trial is waiting


@pytest.fixture(scope="session")
def world(controlplane: ControlPlane, minio: Minio) -> Iterator[World]:
    """CRDs, buckets and the operator's user are there."""
    state = State.create(f"faults-{os.getpid()}", owned=True)
    prepare(minio)
    kubeconfig = named_kubeconfig(controlplane)
    system = Server(controlplane.kubeconfig).send("GET", "/api/v1/namespaces/kube-system")
    try:
        yield World(
            kubeconfig=controlplane.kubeconfig,
            operator_kubeconfig=kubeconfig,
            store=minio.endpoint,
            store_secret=minio.secret_key,
            cluster=system["metadata"]["uid"],
            folder=state.path,
        )
    finally:
        state.remove()


def prepare(minio: Minio) -> None:
    """Its buckets, and the operator's user."""
    location = StoreLocation(endpoint=minio.endpoint, secure=False, bucket="runs")
    administrator = StoreCredentials(access_key=minio.access_key, secret_key=minio.secret_key)
    user = StoreCredentials(access_key=STORE_USER, secret_key=minio.secret_key)
    install(location, administrator, user, "policies", "decisions")


@pytest.fixture(scope="session")
def faultless(world: World) -> dict[str, Outcome]:
    """Each scenario without faults."""
    trials = [Trial(f"faultless-{name}", name) for name in SCENARIOS]
    outcomes = list(play_all(world, trials, {}, JOBS))
    wrong = told(outcomes)
    assert not wrong, wrong
    ended = {o.trial.scenario: o for o in outcomes}
    return {name: ended[name] for name in SCENARIOS}
