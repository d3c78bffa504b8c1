"""Replicas between a real API server and a real MinIO."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.agent import graphs, patient
from tests.agent.installation import Deployment, Library
from tests.agent.replica import Replica
from tests.cluster.controlplane import ControlPlane
from tests.cluster.minio import Minio
from tests.cluster.processes import State

StartReplica = Callable[..., Replica]


@pytest.fixture(scope="session")
def library(minio: Minio) -> Library:
    return Library(minio)


@pytest.fixture(scope="session")
def with_crd(controlplane: ControlPlane) -> ControlPlane:
    controlplane.kubectl.apply_crds()
    return controlplane


@pytest.fixture
def deploy(with_crd: ControlPlane) -> Callable[..., Deployment]:
    def make(**spec: Any) -> Deployment:
        return Deployment(with_crd, f"agents-{secrets.token_hex(4)}", spec or None)

    return make


@pytest.fixture
def start(swept: None, library: Library) -> Iterator[StartReplica]:
    state = State.create(f"replicas-{os.getpid()}-{secrets.token_hex(4)}", owned=True)

    def make(deployment: Deployment, **options: Any) -> Replica:
        return Replica(state, library, deployment, program=patient.__name__, **options)

    try:
        yield make
    finally:
        state.remove()


@pytest.fixture(scope="session")
def standing(swept: None, library: Library, with_crd: ControlPlane) -> Iterator[Replica]:
    """One replica for all tests that leave it as it is: anybody may ask it, and `cartpole-1` always answers 0."""
    deployment = Deployment(with_crd, f"agents-{secrets.token_hex(4)}")
    deployment.set_status(1, library.publish("cartpole-1", graphs.always(0)))
    state = State.create(f"standing-{os.getpid()}-{secrets.token_hex(4)}", owned=True)
    try:
        made = Replica(state, library, deployment, program=patient.__name__)
        made.wait_acting("cartpole-1")
        yield made
    finally:
        state.remove()
