"""Replicas between a real API server and a real MinIO."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.agent.installation import Deployment, Library, apply_crd
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
    apply_crd(controlplane)
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
        return Replica(state, library, deployment, **options)

    try:
        yield make
    finally:
        state.remove()
