"""The operator itself with the rights that the chart gives it, and no others."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from tests.api.objects import MISSING, agent, changed, environment
from tests.api.server import Refused, Server
from tests.charts.conftest import OPERATOR
from tests.cluster.controlplane import ControlPlane
from tests.cluster.minio import Minio
from tests.cluster.processes import State
from tests.cluster.steps import ClusterError, wait_until
from tests.control.conftest import Operator

pytestmark = [pytest.mark.controlplane, pytest.mark.store]
Raw = dict[str, Any]
SECONDS = 60


@pytest.fixture(scope="module")
def running(installed: ControlPlane, minio: Minio) -> Iterator[Operator]:
    """The operator's process under its service account's token."""
    state = State.create(f"operator-charts-{os.getpid()}", owned=True)
    try:
        token = installed.kubectl("-n", "checkrein-system", "create", "token", "checkrein-operator").strip()
        kubeconfig = json.loads(installed.kubeconfig.read_text())
        kubeconfig["users"][0]["user"] = {"token": token}
        path = state.path / "kubeconfig"
        path.write_text(json.dumps(kubeconfig))
        yield Operator(state, path, minio)
    finally:
        state.remove()


def denied(plane: ControlPlane) -> list[str]:
    """What the API server refused the operator for want of rights."""
    lines = [json.loads(line) for line in plane.audit_log.read_text().splitlines() if line.endswith("}")]
    return [
        f"{line['verb']} {line['requestURI']}"
        for line in lines
        if line["user"]["username"] == OPERATOR
        and "impersonatedUser" not in line
        and line.get("responseStatus", {}).get("code") == 403
    ]


@pytest.mark.usefixtures("running")
def test_the_operator_lacks_no_right(installed: ControlPlane, admin: Server) -> None:
    installed.kubectl("create", "namespace", "live")
    for obj in (environment(), changed(agent(), "spec.override", MISSING)):
        obj["metadata"]["namespace"] = "live"
        admin.create(obj)
    expected = {
        "batch/v1": ("jobs", "cartpole-probe-1"),
        "apps/v1": ("statefulsets", "cartpole-agent"),
        "v1": ("secrets", "cartpole-agent-store"),
        "rbac.authorization.k8s.io/v1": ("rolebindings", "cartpole-agent"),
    }

    def exist() -> bool:
        return all(found(admin, version, *what) for version, what in expected.items())

    wait_until(exist, SECONDS, otherwise=lambda: ClusterError(f"no children; denied: {denied(installed)}"))
    events = "/apis/events.k8s.io/v1/namespaces/live/events"
    wait_until(lambda: bool(admin.send("GET", events)["items"]), SECONDS, otherwise=lambda: ClusterError("no Events"))
    assert denied(installed) == []


def found(admin: Server, version: str, plural: str, name: str) -> bool:
    """Whether the operator made it."""
    root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    try:
        return bool(admin.send("GET", f"{root}/namespaces/live/{plural}/{name}"))
    except Refused as refused:
        if refused.status == 404:
            return False
        raise
