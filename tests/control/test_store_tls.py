"""A store with an authority of its own: the operator trusts it, and its pods get what they need to do so as well."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.objects import MISSING, agent, changed
from tests.api.server import Server
from tests.cluster.controlplane import ControlPlane
from tests.cluster.minio import Minio
from tests.cluster.pki import Authority
from tests.cluster.processes import State
from tests.cluster.steps import ClusterError, wait_until
from tests.control.conftest import Operator, named_kubeconfig

from checkrein.api.tasks import AUTHORITIES, TASK_VARIABLE, AgentTask
from checkrein.control.apiserver import connected
from checkrein.control.cluster import Cluster
from checkrein.control.plan import Unavailable
from checkrein.control.requests import EnsureSession
from checkrein.control.settings import Images, Settings, StoreSettings
from checkrein.control.stores import Stores
from checkrein.control.world import World
from checkrein.store.client import Store

pytestmark = [pytest.mark.controlplane, pytest.mark.store]
SECONDS = 180


@pytest.fixture(scope="module")
def secured(swept: None) -> Iterator[Minio]:
    state = State.create(f"minio-operator-tls-{os.getpid()}", owned=True)
    try:
        yield Minio(state, Authority.create(state.path / "pki"))
    finally:
        state.remove()


@pytest.fixture(scope="module")
def running(controlplane: ControlPlane, secured: Minio) -> Iterator[Operator]:
    state = State.create(f"operator-tls-{os.getpid()}", owned=True)
    try:
        yield Operator(state, named_kubeconfig(controlplane), secured)
    finally:
        state.remove()


@pytest.mark.usefixtures("running")
def test_a_pod_is_given_the_authorities_with_its_session(controlplane: ControlPlane, tmp_path: Path) -> None:
    controlplane.kubectl("create", "namespace", "tls")
    wanted = changed(agent(), "spec.override", MISSING)
    wanted["metadata"]["namespace"] = "tls"
    Server(controlplane.kubeconfig).create(wanted)

    def made() -> bool:
        found = controlplane.kubectl("-n", "tls", "get", "statefulset,secret", "-o", "name")
        return {"secret/cartpole-agent-store", "statefulset.apps/cartpole-agent"} <= set(found.split())

    wait_until(made, SECONDS, otherwise=lambda: ClusterError("the operator made no replicas"))
    for name, data in controlplane.kubectl.get("secret", "cartpole-agent-store", namespace="tls")["data"].items():
        (tmp_path / name).write_bytes(base64.b64decode(data))
    assert (tmp_path / AUTHORITIES).exists()
    task = _task(controlplane)
    assert task.decisions
    log = Store.from_file(task.decisions, tmp_path / "credentials.json")
    assert log.put(f"{task.decisions.write_prefix}stream/segments/1", b"one", if_absent=True).size == 3
    assert task.store.private_authority


def test_a_renewed_bundle_reaches_pods_that_have_a_session_already(
    controlplane: ControlPlane,
    running: Operator,
    secured: Minio,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert secured.authorities
    settings = Settings(
        store=StoreSettings(endpoint=secured.endpoint, private_authority=True, decisions_bucket="decisions"),
        images=Images(trainer="t", agent="a"),
    )
    (tmp_path / "credentials.json").write_text(running.user.model_dump_json(by_alias=True, exclude_none=True))
    monkeypatch.setenv("KUBECONFIG", str(controlplane.kubeconfig))
    bundle = tmp_path / AUTHORITIES
    decisions = settings.store.location("decisions", write_prefix="decisions/c/default/uid/")
    owner = (("apiVersion", "v1"), ("kind", "Pod"), ("name", "a"), ("uid", "uid"))
    request = EnsureSession("default", "renewed", "agent", settings.store.location("policies"), owner, decisions)

    async def ensured() -> Any:
        async with connected() as api, httpx.AsyncClient() as http:
            stores = Stores(settings, "c", tmp_path / "credentials.json")
            return (await World(Cluster(api), stores, http, {}, lambda: "").answer([request]))[request]

    def given() -> dict[str, str]:
        data: dict[str, str] = controlplane.kubectl.get("secret", "renewed")["data"]
        return data

    missing = asyncio.run(ensured())
    assert isinstance(missing, Unavailable)
    assert (missing.reason, missing.temporary) == ("StoreAuthorityMissing", True)
    bundle.write_bytes(secured.authorities.read_bytes())
    assert asyncio.run(ensured()) == "renewed"
    first = given()
    assert asyncio.run(ensured()) == "renewed"
    assert given() == first, "nothing has changed: nothing is written"
    bundle.write_bytes(bundle.read_bytes() * 2)
    assert asyncio.run(ensured()) == "renewed"
    assert base64.b64decode(given()[AUTHORITIES]) == bundle.read_bytes()


def _task(controlplane: ControlPlane) -> AgentTask:
    """As the replica reads it."""
    made: dict[str, Any] = controlplane.kubectl.get("statefulset", "cartpole-agent", namespace="tls")
    [container] = made["spec"]["template"]["spec"]["containers"]
    value = next(e["value"] for e in container["env"] if e["name"] == TASK_VARIABLE)
    return AgentTask.model_validate(json.loads(value))
