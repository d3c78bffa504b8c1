"""The operator itself with the rights that the chart gives it, and no others: everywhere, or in one namespace."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from tests.api.objects import MISSING, agent, changed, environment
from tests.api.server import Refused, Server
from tests.charts.conftest import OPERATOR
from tests.charts.render import template
from tests.cluster.controlplane import ControlPlane
from tests.cluster.minio import Minio
from tests.cluster.processes import State
from tests.cluster.steps import ClusterError, wait_until
from tests.control.conftest import Operator, metric

pytestmark = [pytest.mark.controlplane, pytest.mark.store]
Raw = dict[str, Any]
SECONDS = 180


@pytest.fixture(scope="module")
def running(installed: ControlPlane, minio: Minio) -> Iterator[Operator]:
    """The operator's process where the chart lets it work everywhere."""
    state = State.create(f"operator-charts-{os.getpid()}", owned=True)
    try:
        yield started(state, installed, minio)
    finally:
        state.remove()


@pytest.fixture(scope="module")
def narrow(swept: None) -> Iterator[ControlPlane]:
    """A control plane where the chart lets the operator work in namespaces `games` and `absent` only."""
    state = State.create(f"controlplane-narrow-{os.getpid()}", owned=True)
    try:
        plane = ControlPlane(state)
        for name in ("games", "absent", "other"):
            plane.kubectl("create", "namespace", name)
        chart = template("--set", "watchNamespaces={games,absent}", "--set", "operator.replicas=0")
        plane.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", stdin=chart)
        plane.kubectl.established()
        plane.kubectl("-n", "absent", "delete", "role,rolebinding", "--all")  # as with the namespace's deletion
        yield plane
    finally:
        state.remove()


def started(state: State, plane: ControlPlane, minio: Minio, **settings: object) -> Operator:
    """The operator's process under its service account's token."""
    token = plane.kubectl("-n", "checkrein-system", "create", "token", "checkrein-operator").strip()
    kubeconfig = json.loads(plane.kubeconfig.read_text())
    kubeconfig["users"][0]["user"] = {"token": token}
    path = state.path / "kubeconfig"
    path.write_text(json.dumps(kubeconfig))
    return Operator(state, path, minio, **settings)


def denied(plane: ControlPlane) -> list[str]:
    """What the API server refused the operator for want of rights."""
    lines = [json.loads(line) for line in plane.audit_lines()]
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
    create(admin, "live")
    until_made(installed, admin, "live")
    assert denied(installed) == []


def test_an_operator_of_one_namespace_works_there_and_nowhere_else(narrow: ControlPlane, minio: Minio) -> None:
    admin = Server(narrow.kubeconfig)
    for namespace in ("other", "absent", "games"):
        create(admin, namespace)
    state = State.create(f"operator-narrow-{os.getpid()}", owned=True)
    try:
        operator = started(state, narrow, minio, watchNamespaces=["games", "absent"], resyncSeconds=0.5)
        until_made(narrow, admin, "games")
        resyncs = metric(operator, "checkrein_resyncs_total")
        wait_until(
            lambda: metric(operator, "checkrein_resyncs_total") > resyncs,
            SECONDS,
            otherwise=lambda: ClusterError("no resync while one namespace refuses"),
        )
        for namespace in ("other", "absent"):
            env = admin.get(environment() | {"metadata": {"name": "cartpole", "namespace": namespace}})
            assert not env["status"].get("conditions"), namespace
            assert not found(admin, namespace, "batch/v1", "jobs", "cartpole-probe-1")
        assert {where(line) for line in denied(narrow)} == {"absent"}
    finally:
        state.remove()


def where(request: str) -> str:
    """The namespace of a denied request; the path where it has none."""
    _, path = request.split(" ")
    return path.split("/namespaces/")[1].split("/")[0] if "/namespaces/" in path else path


def create(admin: Server, namespace: str) -> None:
    """An environment and an agent."""
    for obj in (environment(), changed(agent(), "spec.override", MISSING)):
        obj["metadata"]["namespace"] = namespace
        admin.create(obj)


def until_made(plane: ControlPlane, admin: Server, namespace: str) -> None:
    """Returns once the operator has made what both need, and has told of it."""
    expected = {
        "batch/v1": ("jobs", "cartpole-probe-1"),
        "apps/v1": ("statefulsets", "cartpole-agent"),
        "v1": ("secrets", "cartpole-agent-store"),
        "rbac.authorization.k8s.io/v1": ("rolebindings", "cartpole-agent"),
    }

    def exist() -> bool:
        return all(found(admin, namespace, version, *what) for version, what in expected.items())

    wait_until(exist, SECONDS, otherwise=lambda: ClusterError(f"no children; denied: {denied(plane)}"))
    events = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    wait_until(lambda: bool(admin.send("GET", events)["items"]), SECONDS, otherwise=lambda: ClusterError("no Events"))


def found(admin: Server, namespace: str, version: str, plural: str, name: str) -> bool:
    """Whether the operator made it."""
    root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    try:
        return bool(admin.send("GET", f"{root}/namespaces/{namespace}/{plural}/{name}"))
    except Refused as refused:
        if refused.status == 404:
            return False
        raise
