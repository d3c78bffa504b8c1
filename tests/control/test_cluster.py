"""The edge to a real API server."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from tests.api.server import Server
from tests.cluster.controlplane import ControlPlane
from tests.control.objects import AGENT

from checkrein.api.meta import API_VERSION
from checkrein.control.apiserver import connected
from checkrein.control.cluster import Cluster

pytestmark = [pytest.mark.controlplane]
NAMESPACE, NAME = "default", "emptied"


async def tell(*statuses: dict[str, Any]) -> list[dict[str, Any]]:
    """Applies one status after the other; what the API server made of each."""
    async with connected() as api:
        cluster, told = Cluster(api), []
        for status in statuses:
            obj = await cluster.get("AgentDeployment", NAMESPACE, NAME)
            assert obj
            told.append((await cluster.apply_status(obj, status))["status"])
    return told


def test_a_map_in_status_can_be_emptied(controlplane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(controlplane.kubeconfig))
    controlplane.kubectl.apply_crds()
    body = {**copy.deepcopy(AGENT), "apiVersion": API_VERSION, "kind": "AgentDeployment", "metadata": {"name": NAME}}
    server = Server(controlplane.kubeconfig)
    server.send("POST", f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/agentdeployments", body)
    rollout = {"id": "cartpole-2.1", "seed": "5", "began": "2026-01-01T00:00:00Z", "findings": {"unseen": 3}}
    full, empty = asyncio.run(tell({"rollout": rollout}, {"rollout": {**rollout, "findings": {}}}))
    assert full["rollout"]["findings"] == {"unseen": 3}
    assert not empty["rollout"].get("findings")
