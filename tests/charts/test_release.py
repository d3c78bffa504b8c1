"""A release's life with helm: installed, upgraded, gone; what people made stays."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.api.objects import environment
from tests.api.server import Server
from tests.charts.render import CHART, DEVELOPMENT, NAMESPACE, helm
from tests.cluster.controlplane import ControlPlane
from tests.cluster.processes import State

pytestmark = pytest.mark.controlplane


@pytest.fixture
def empty(swept: None) -> Iterator[ControlPlane]:
    """A control plane that helm has to itself."""
    state = State.create(f"controlplane-release-{os.getpid()}", owned=True)
    try:
        yield ControlPlane(state)
    finally:
        state.remove()


def test_an_environment_outlives_the_release(empty: ControlPlane) -> None:
    cluster = ("--kubeconfig", empty.kubeconfig, "--namespace", NAMESPACE)
    apply = ("upgrade", "--install", "checkrein", CHART, *cluster, "--values", DEVELOPMENT)
    helm(*apply, "--set", "namespace.create=false", "--create-namespace")
    server = Server(empty.kubeconfig)
    created = server.create(environment())
    helm(*apply, "--set", "namespace.create=false", "--set", "timing.resync=60")
    assert '"resyncSeconds": 60' in empty.kubectl(
        "-n", NAMESPACE, "get", "configmap", "checkrein-operator", "-o", "yaml"
    )
    helm("uninstall", "checkrein", *cluster)
    assert "checkrein" not in empty.kubectl("get", "clusterroles,validatingadmissionpolicies", "-o", "name")
    assert server.get(created)["metadata"]["uid"] == created["metadata"]["uid"]
