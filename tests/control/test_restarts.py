"""The operator is killed at each stage, after it has acted and before status says so; the end is the same.

In one namespace for each stage the API server refuses the status that ends it. Once the operator stands before that
wall everywhere, it is killed, the walls fall, and another one starts.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.api.server import MERGE, Refused, Server
from tests.cluster.controlplane import ControlPlane
from tests.control.audit import refusals
from tests.control.conftest import Operator
from tests.control.objects import AGENT, ENVIRONMENT, Raw, job
from tests.control.standin import Standin

from checkrein.store.reservations import reserve_evaluation, reserve_version

pytestmark = [pytest.mark.controlplane, pytest.mark.store]

STAGES = [
    pytest.param("RLEnvironment-Probing", id="the probe's Job exists"),
    pytest.param("RLEnvironment-Ready", id="the probe has reported"),
    pytest.param("TrainingJob-Running", id="the first attempt's Job exists"),
    pytest.param("TrainingJob-Evaluating", id="the trainer has exported"),
    pytest.param("TrainingJob-Publishing", id="the evaluation was judged"),
    pytest.param("TrainingJob-Succeeded", id="the PolicyVersion exists"),
    pytest.param("PolicyVersion-Verified", id="the PolicyVersion was verified"),
    pytest.param("AgentDeployment-Healthy", id="the replicas have loaded the policy"),
]
NAMES = [str(stage.values[0]) for stage in STAGES]
WALL = "wall"
ADMISSION = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic"
KINDS = ("rlenvironments", "trainingjobs", "policyversions", "agentdeployments")
RULE = {
    "apiGroups": ["checkrein.dev"],
    "apiVersions": ["*"],
    "resources": [f"{kind}/status" for kind in KINDS],
    "operations": ["UPDATE"],
}
EXPRESSION = "namespaceObject.metadata.?labels['wall'].orValue('') != object.kind + '-' + object.status.phase"


def namespace(stage: str) -> str:
    """Where the operator is stopped at this stage."""
    return f"killed-{stage.lower()}"


@pytest.fixture(scope="module")
def story(controlplane: ControlPlane, operator: Operator) -> Iterator[Standin]:
    """Everything, up to the end, with the kill in between."""
    server = Server(controlplane.kubeconfig)
    standin = Standin(server)
    try:
        _build_walls(server, standin)
        for name in map(namespace, NAMES):
            for kind, obj in (("RLEnvironment", ENVIRONMENT), ("TrainingJob", job()), ("AgentDeployment", AGENT)):
                standin.create(kind, name, obj)
        standin.until(lambda: all(refusals(controlplane.audit_log, namespace(n)) for n in NAMES), "all stand at a wall")
        operator.kill()
        for name in NAMES:
            server.send(
                "PATCH",
                f"/api/v1/namespaces/{namespace(name)}",
                {"metadata": {"labels": {WALL: None}}},
                content_type=MERGE,
            )
        operator.start()
        for name in map(namespace, NAMES):
            standin.until_said("TrainingJob", name, "a", "Complete", "Published")
            standin.until_said("AgentDeployment", name, "cartpole", "Ready", "Deciding")
        yield standin
    finally:
        standin.close()
        for kind in ("ybindings", "ies"):
            server.send("DELETE", f"{ADMISSION}{kind}/{WALL}")


def _build_walls(server: Server, standin: Standin) -> None:
    """Namespaces with walls; returns once the walls stand."""
    policy = {
        "matchConstraints": {"resourceRules": [RULE]},
        "validations": [{"expression": EXPRESSION, "message": "a wall"}],
    }
    server.send("POST", f"{ADMISSION}ies", {"metadata": {"name": WALL}, "spec": policy})
    binding = {"policyName": WALL, "validationActions": ["Deny"]}
    server.send("POST", f"{ADMISSION}ybindings", {"metadata": {"name": WALL}, "spec": binding})
    for name in NAMES:
        standin.join(namespace(name), **{WALL: name})
    standin.join("walled", **{WALL: "RLEnvironment-Failed"}).hold = {"probe"}
    standin.create("RLEnvironment", "walled", ENVIRONMENT)
    standin.until(lambda: _is_refused(server), "the walls stand")


def _is_refused(server: Server) -> bool:
    path = "/apis/checkrein.dev/v1alpha1/namespaces/walled/rlenvironments/cartpole/status"
    try:
        server.send("PATCH", path, {"status": {"phase": "Failed"}}, content_type=MERGE, dry_run=True)
    except Refused as refused:
        return "a wall" in refused.message
    return False


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_is_done_twice(story: Standin, operator: Operator, controlplane: ControlPlane, stage: str) -> None:
    name = namespace(stage)
    assert refusals(controlplane.audit_log, name), "it was not stopped where it should have been"
    assert story.names("PolicyVersion", name) == ["cartpole-1"]
    assert story.names("Job", name) == ["a-evaluate-1", "a-train-1", "cartpole-probe-1"]
    status = _status(story, "TrainingJob", name, "a")
    assert (status["attempt"], status["evaluation"]["evaluatedBefore"]) == (1, 0)
    agent = _status(story, "AgentDeployment", name, "cartpole")
    assert (agent["stable"]["name"], agent["epoch"]) == ("cartpole-1", 1)


@pytest.mark.parametrize("stage", STAGES)
def test_the_next_numbers_are_two(story: Standin, operator: Operator, stage: str) -> None:
    """Neither an evaluation nor a version was counted twice."""
    system: Raw = story.server.send("GET", "/api/v1/namespaces/kube-system")
    name, cluster, store = namespace(stage), system["metadata"]["uid"], operator.store("policies")
    digest = _status(story, "RLEnvironment", name, "cartpole")["digest"]
    assert reserve_version(store, cluster, name, "cartpole", "another") == 2
    assert reserve_evaluation(store, cluster, name, "cartpole", digest, "another") == 2


def _status(story: Standin, kind: str, where: str, name: str) -> Raw:
    obj = story.get(kind, where, name)
    assert obj
    found: Raw = obj["status"]
    return found
