"""A control plane of its own with Checkrein installed: its admission policies would bind other tests' objects too."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest
from tests.api.objects import policy_version
from tests.api.server import Server
from tests.charts.people import refusal
from tests.charts.render import INSTALL
from tests.cluster.controlplane import ControlPlane
from tests.cluster.processes import State

_numbers = itertools.count(1)  # tests of other folders import the fixture, and get one of their own
OPERATOR = "system:serviceaccount:checkrein-system:checkrein-operator"


@pytest.fixture(scope="session")
def installed(swept: None) -> Iterator[ControlPlane]:
    """etcd and an API server with manifests/install.yaml applied and its admission policies in force."""
    state = State.create(f"controlplane-charts-{os.getpid()}-{next(_numbers)}", owned=True)
    try:
        plane = ControlPlane(state)
        plane.kubectl("apply", "--server-side", "--validate=strict", "-f", str(INSTALL))
        plane.kubectl.established()
        _enforced(Server(plane.kubeconfig))
        yield plane
    finally:
        state.remove()


@pytest.fixture(scope="session")
def admin(installed: ControlPlane) -> Server:
    """Whom no RBAC rule binds."""
    return Server(installed.kubeconfig)


@pytest.fixture(scope="session")
def operator(admin: Server) -> Server:
    """The operator's service account."""
    return admin.as_user(OPERATOR, "system:serviceaccounts")


def _enforced(admin: Server) -> None:
    probe = admin.create(policy_version())
    refusal(lambda: admin.patch(probe, {"status": {"phase": "Verified"}}, "status"))
    admin.delete(probe)
