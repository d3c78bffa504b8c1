"""An API server with the four resources, deployments with a status, and `checkrein rollout` as a person runs it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.api.objects import DIGEST, changed, environment, pointer, policy_version
from tests.api.server import APPLY, MERGE, Refused, Server
from tests.cluster.controlplane import ControlPlane
from tests.cluster.kubectl import Kubectl

from checkrein.api.meta import API_VERSION
from checkrein.cli.main import main

Raw = dict[str, Any]
Said = tuple[int, str, str]
NOW = "2026-12-01T12:00:00Z"
PATH = f"/apis/{API_VERSION}/namespaces/default/agentdeployments"
STRATEGY: Raw = {
    "shadow": {"units": 50, "share": "0.5"},
    "canary": {
        "steps": [{"weight": 5, "units": 20}, {"weight": 25, "units": 50, "pause": {}}, {"weight": 50, "units": 50}],
        "gates": [
            {
                "name": "return",
                "metric": "return",
                "role": "Prove",
                "test": "NonInferior",
                "margin": {"of": "StableMean", "value": "0.05"},
            },
            {"name": "errors", "metric": "errors", "test": "NotAbove", "limit": "0.01"},
        ],
        "maxDuration": "2h",
    },
}


def step(kind: str = "Canary", index: int = 2, **more: Any) -> Raw:
    """Where a rollout is."""
    return {"kind": kind, "index": index, "weight": 25, "units": 12, "since": NOW} | more


def rollout(version: str = "cartpole-2", **more: Any) -> Raw:
    """A try of a candidate."""
    return {"id": f"{version}.1", "seed": "ab", "attempt": 1, "began": NOW, "scored": 32} | more


def promoted(seq: int, policy: str, since: str | None, event: str = "Promoted", **more: Any) -> Raw:
    """An entry of the history."""
    entry = {"seq": seq, "event": event, "policy": policy, "digest": DIGEST, "time": NOW, **more}
    return entry | ({"from": since} if since else {})


@dataclass
class Deployment:
    """One AgentDeployment on a real API server, whose status the test writes as the operator would."""

    server: Server
    kubectl: Kubectl
    name: str

    @property
    def path(self) -> str:
        return f"{PATH}/{self.name}"

    def status(self, **status: Any) -> None:
        """All of it."""
        obj = self.get()
        known: Raw = {"observedGeneration": obj["metadata"]["generation"], "epoch": 3}
        body = {"apiVersion": API_VERSION, "kind": "AgentDeployment", "metadata": {"name": self.name}}
        self.server.send("PATCH", f"{self.path}/status", body | {"status": known | status}, content_type=APPLY)

    def canary(self, **status: Any) -> None:
        """cartpole-2 is in the second step of its canary."""
        known = {"stable": pointer("cartpole-1"), "candidate": pointer("cartpole-2"), "step": step()}
        self.status(**known | {"phase": "Progressing", "rollout": rollout()} | status)

    def apply(self, spec: Raw, manager: str, *, server_side: bool = True) -> None:
        """As kubectl does it in a manager's name."""
        body = {"apiVersion": API_VERSION, "kind": "AgentDeployment", "metadata": {"name": self.name}, "spec": spec}
        how = ("--server-side", "--force-conflicts") if server_side else ()
        self.kubectl("apply", "-n", "default", *how, f"--field-manager={manager}", "-f", "-", stdin=json.dumps(body))

    def patch(self, spec: Raw) -> None:
        """As somebody does it by hand."""
        self.server.send("PATCH", self.path, {"spec": spec}, content_type=MERGE)

    def get(self) -> Raw:
        return self.server.send("GET", self.path)

    @property
    def words(self) -> Raw:
        """spec.rollout, without what it is by default."""
        return {key: value for key, value in self.get()["spec"]["rollout"].items() if (key, value) != ("paused", False)}


@pytest.fixture(scope="session")
def server(controlplane: ControlPlane) -> Server:
    """Its admin's view, with three versions of a policy and the environment that they were made for."""
    controlplane.kubectl.apply_crds()
    server = Server(controlplane.kubeconfig)
    environments, made = f"/apis/{API_VERSION}/namespaces/default/rlenvironments/planned", environment("planned")
    _create(server, made)
    status = {"apiVersion": API_VERSION, "kind": "RLEnvironment", "metadata": {"name": "planned"}}
    body = status | {"status": {"digest": DIGEST, "phase": "Ready"}}
    server.send("PATCH", f"{environments}/status", body, content_type=APPLY)
    for number in (1, 2, 3):
        version = changed(policy_version(f"cartpole-{number}", version=number), "spec.environment.name", "planned")
        _create(server, version)
        server.patch(version, {"status": {"phase": "Verified"}}, "status")
    return server


def _create(server: Server, obj: Raw) -> None:
    try:
        server.create(obj)
    except Refused as refused:  # another file's session made it
        if refused.status != 409:
            raise


@pytest.fixture
def deploy(server: Server, controlplane: ControlPlane) -> Callable[..., Deployment]:
    """Creates a deployment of its own for the test."""

    def create(version: str = "cartpole-2", *, manager: str = "somebody", **spec: Any) -> Deployment:
        made = Deployment(server, controlplane.kubectl, f"agent-{secrets.token_hex(4)}")
        made.apply({"policyVersion": version, "strategy": STRATEGY, **spec}, manager)
        return made

    return create


@pytest.fixture
def run(controlplane: ControlPlane, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """`checkrein rollout ...`: exit status, what was said, what was complained about."""
    return lambda *arguments: called(controlplane.kubeconfig, capsys, "rollout", *arguments)


@pytest.fixture
def command(controlplane: ControlPlane, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """`checkrein ...`, likewise."""
    return lambda *arguments: called(controlplane.kubeconfig, capsys, *arguments)


def called(kubeconfig: Path, capsys: pytest.CaptureFixture[str], *arguments: object) -> Said:
    """What a command of `checkrein` says to whom a kubeconfig is for."""
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments), "--kubeconfig", str(kubeconfig)])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err
