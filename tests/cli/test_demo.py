"""`checkrein demo` in a namespace of its own, on a real API server; the test writes what the operator would."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from tests.api.objects import DIGEST, changed, pointer, policy_version
from tests.api.server import APPLY, Server
from tests.cli.conftest import NOW, Said
from tests.cluster.cache import REPOSITORY

from checkrein.api.meta import API_VERSION
from checkrein.cli.main import arguments, main

SAMPLES = REPOSITORY / "manifests" / "samples" / "cartpole"
Raw = dict[str, Any]
pytestmark = pytest.mark.controlplane


@dataclass
class Place:
    """A namespace, and `checkrein demo` in it."""

    server: Server
    name: str
    command: Callable[..., Said]

    def demo(self, *options: str) -> Said:
        return self.command("demo", "-n", self.name, *options)

    def path(self, plural: str, name: str = "") -> str:
        return f"/apis/{API_VERSION}/namespaces/{self.name}/{plural}/{name}".rstrip("/")

    def status(self, kind: str, name: str, **status: Any) -> None:
        """As the operator writes it; `condition` is the main one's type, which holds."""
        condition = {"status": "True", "reason": "Done", "lastTransitionTime": NOW, "type": status.pop("condition")}
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}}
        known = {"observedGeneration": 1, "conditions": [condition]} | status
        path = f"{self.path(kind.lower() + 's', name)}/status"
        self.server.send("PATCH", path, body | {"status": known}, content_type=APPLY)


@pytest.fixture
def place(server: Server, command: Callable[..., Said]) -> Iterator[Place]:
    name = f"demo-{secrets.token_hex(4)}"
    server.send("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    yield Place(server, name, command)
    server.send("DELETE", f"/api/v1/namespaces/{name}")


def test_it_can_be_left_and_run_again_and_ends_when_the_policy_decides(place: Place) -> None:
    code, out, err = place.demo("--timeout", "1s")
    assert code == 1
    assert "TrainingJob cartpole-a created" in out
    assert "rlenvironment/cartpole is not there after" in err

    place.status("RLEnvironment", "cartpole", digest=DIGEST, phase="Ready", condition="Ready")
    place.status("TrainingJob", "cartpole-a", phase="Succeeded", policyVersion="cartpole-1", condition="Complete")
    version = changed(policy_version("cartpole-1"), "metadata.namespace", place.name)
    place.server.send("POST", place.path("policyversions"), version)
    place.status(
        "AgentDeployment", "cartpole", phase="Healthy", stable=pointer("cartpole-1"), replicas=2, condition="Ready"
    )
    code, out, err = place.demo("--timeout", "1m")
    assert (code, err) == (0, "")
    assert "AgentDeployment cartpole is there already" in out
    assert out.index("RLEnvironment cartpole") < out.index("TrainingJob cartpole-a  ") < out.index("cartpole-1 decides")
    assert f"kubectl -n {place.name} port-forward service/cartpole-agent" in out
    said = [line.removeprefix("  checkrein ") for line in out.splitlines() if line.startswith("  checkrein ")]
    assert {arguments().parse_args(shlex.split(line)).namespace for line in said} == {place.name}


def test_a_training_that_failed_ends_it_with_the_reason(place: Place) -> None:
    place.demo("--timeout", "1s")
    place.status("RLEnvironment", "cartpole", digest=DIGEST, phase="Ready", condition="Ready")
    place.status("TrainingJob", "cartpole-a", phase="Failed", condition="Failed")
    code, _, err = place.demo("--timeout", "1m")
    assert (code, "TrainingJob cartpole-a is Failed" in err) == (1, True)


def test_a_namespace_that_is_not_there_is_said(command: Callable[..., Said]) -> None:
    code, _, err = command("demo", "-n", "nowhere")
    assert (code, 'namespaces "nowhere" not found' in err) == (1, True)


def test_what_would_be_created_is_the_samples_as_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--dry-run", "--kubeconfig", "/nowhere"])
    assert not ended.value.code
    files = yaml.safe_load((SAMPLES / "kustomization.yaml").read_text())["resources"]
    shown = list(yaml.safe_load_all(capsys.readouterr().out))
    assert shown == [yaml.safe_load((SAMPLES / file).read_text()) for file in files]
