"""The edge to a real API server."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio import client, config
from tests.api.server import Server
from tests.cluster.controlplane import ControlPlane
from tests.control.objects import AGENT

from checkrein.api.meta import API_VERSION
from checkrein.control.cluster import Cluster

pytestmark = [pytest.mark.controlplane]
NAMESPACE, NAME = "default", "emptied"


async def tell(kubeconfig: Path, *statuses: dict[str, Any]) -> list[dict[str, Any]]:
    """Applies one status after the other; what the API server made of each."""
    await config.load_kube_config(str(kubeconfig))  # type: ignore[no-untyped-call]
    async with client.ApiClient() as api:
        cluster, told = Cluster(api), []
        for status in statuses:
            obj = await cluster.get("AgentDeployment", NAMESPACE, NAME)
            assert obj
            told.append((await cluster.apply_status(obj, status))["status"])
    return told


def test_a_map_in_status_can_be_emptied(controlplane: ControlPlane) -> None:
    controlplane.kubectl.apply_crds()
    body = {**copy.deepcopy(AGENT), "apiVersion": API_VERSION, "kind": "AgentDeployment", "metadata": {"name": NAME}}
    server = Server(controlplane.kubeconfig)
    server.send("POST", f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/agentdeployments", body)
    rollout = {"id": "cartpole-2.1", "seed": "5", "began": "2026-01-01T00:00:00Z", "findings": {"unseen": 3}}
    full, empty = asyncio.run(
        tell(controlplane.kubeconfig, {"rollout": rollout}, {"rollout": {**rollout, "findings": {}}})
    )
    assert full["rollout"]["findings"] == {"unseen": 3}
    assert not empty["rollout"].get("findings")
