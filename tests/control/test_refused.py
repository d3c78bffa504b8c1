"""What the API server does not take, what cannot be read, and what is kept from going: told, waited for, got over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.api.server import Refused
from tests.cluster.controlplane import ControlPlane
from tests.control.audit import writes
from tests.control.conftest import Operator
from tests.control.objects import AGENT, ENVIRONMENT, job
from tests.control.standin import Raw, Standin

pytestmark = [pytest.mark.controlplane, pytest.mark.store]
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
HELD = "example.com/hold"


def resyncs(standin: Standin, operator: Operator, count: int) -> None:
    """Goes on for so many comparisons with a list."""

    def seen() -> float:
        lines = operator.get("/metrics")[1].splitlines()
        return next((float(line.split()[1]) for line in lines if line.startswith("checkrein_resyncs_total ")), 0.0)

    before = seen()
    standin.until(lambda: seen() >= before + count, "comparisons with a list")


@pytest.fixture
def policy(standin: Standin) -> Iterator[str]:
    """Somebody's admission policy that takes no status with a digest; the namespace that it binds."""
    name = "no-digests"
    rule = {"expression": "!has(object.status) || !has(object.status.digest)", "message": "no digests here"}
    resources = {
        "apiGroups": ["checkrein.dev"],
        "apiVersions": ["*"],
        "operations": ["UPDATE"],
        "resources": ["rlenvironments/status"],
    }
    spec = {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [resources]}, "validations": [rule]}
    binding = {
        "policyName": name,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}},
    }
    for plural, body in (("validatingadmissionpolicies", spec), ("validatingadmissionpolicybindings", binding)):
        standin.server.send("POST", f"{ADMISSION}/{plural}", {"metadata": {"name": name}, "spec": body})
    yield name
    _drop(standin, f"{ADMISSION}/validatingadmissionpolicies/{name}")
    _drop(standin, f"{ADMISSION}/validatingadmissionpolicybindings/{name}")


def _drop(standin: Standin, path: str) -> None:
    try:
        standin.server.send("DELETE", path)
    except Refused as refused:
        if refused.status != 404:
            raise


def test_a_status_that_is_refused_is_told_and_written_later(
    standin: Standin, operator: Operator, controlplane: ControlPlane, policy: str
) -> None:
    namespace = policy
    play = standin.join(namespace)
    play.hold = {"probe"}
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    standin.until_said("RLEnvironment", namespace, "cartpole", "Ready", "Probing")
    digest = {"status": {"digest": f"sha256:{'0' * 64}"}}

    def enforced() -> bool:
        try:
            standin.server.send(
                "PATCH",
                f"/apis/checkrein.dev/v1alpha1/namespaces/{namespace}/rlenvironments/cartpole/status",
                digest,
                content_type="application/merge-patch+json",
                dry_run=True,
            )
        except Refused:
            return True
        return False

    standin.until(enforced, "the policy is in force")
    play.hold = set()
    message = standin.until_said("RLEnvironment", namespace, "cartpole", "Reconciled", "StatusRefused")
    assert "no digests here" in message
    assert standin.said("RLEnvironment", namespace, "cartpole", "Ready")[0] == "Probing"  # as it was
    resyncs(standin, operator, 1)
    before = len(writes(controlplane.audit_log, namespace))
    resyncs(standin, operator, 3)
    assert len(writes(controlplane.audit_log, namespace)) - before <= 6  # it backs off
    assert 'checkrein_refused_writes_total{kind="RLEnvironment",what="status"}' in operator.get("/metrics")[1]

    _drop(standin, f"{ADMISSION}/validatingadmissionpolicybindings/{namespace}")
    standin.until_said("RLEnvironment", namespace, "cartpole", "Ready", "Probed")
    assert standin.said("RLEnvironment", namespace, "cartpole", "Reconciled")[:2] == ("Reconciled", "True")

    def told() -> set[str]:
        return {e["reason"] for e in standin.all("Event", namespace)}

    standin.until(lambda: told() >= {"StatusRefused", "Probed", "Reconciled"}, "Events tell it")


def test_an_object_that_cannot_be_read_keeps_nobody_else(standin: Standin, operator: Operator) -> None:
    namespace = "unreadable"
    standin.join(namespace)
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    standin.create("TrainingJob", namespace, job(gates=[]))
    standin.create("AgentDeployment", namespace, AGENT)
    standin.until_said("AgentDeployment", namespace, "cartpole", "Ready", "Deciding")
    foreign = {
        "type": "Foreign",
        "status": "True",
        "reason": "ByHand",
        "message": "",
        "lastTransitionTime": "0000-01-01T00:00:00Z",  # a year that the API server knows and Python does not
    }
    listed = (standin.get("AgentDeployment", namespace, "cartpole") or {})["status"]["conditions"]
    change = {"status": {"conditions": [*listed, foreign]}}
    standin.patch("AgentDeployment", namespace, "cartpole", change, "status")
    message = standin.until_said("AgentDeployment", namespace, "cartpole", "Reconciled", "Unreadable")
    assert "lastTransitionTime of AgentDeployment cartpole cannot be read" in message

    standin.create("TrainingJob", namespace, job("b", gates=[]))
    standin.create("AgentDeployment", namespace, {"metadata": {"name": "other"}, "spec": AGENT["spec"]})
    standin.until_said("PolicyVersion", namespace, "cartpole-2", "Verified", "Verified")
    standin.until_said("AgentDeployment", namespace, "other", "Ready", "Deciding")
    resyncs(standin, operator, 2)
    assert operator.process.alive()

    listed = (standin.get("AgentDeployment", namespace, "cartpole") or {})["status"]["conditions"]
    change = {"status": {"conditions": [c for c in listed if c["type"] != "Foreign"]}}
    standin.patch("AgentDeployment", namespace, "cartpole", change, "status")
    standin.until_said("AgentDeployment", namespace, "cartpole", "Reconciled", "Reconciled")
    spec = {"spec": {"policyVersion": "cartpole-2"}}
    standin.patch("AgentDeployment", namespace, "cartpole", spec)
    standin.until(
        lambda: (
            (standin.get("AgentDeployment", namespace, "cartpole") or {})["status"]["stable"]["name"] == "cartpole-2"
        ),
        "it goes on",
    )


def test_a_child_that_is_refused_keeps_no_version_from_acting(standin: Standin) -> None:
    namespace = "refused-child"
    standin.join(namespace)
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    for name in ("a", "b"):
        standin.create("TrainingJob", namespace, job(name, gates=[]))
    standin.create("AgentDeployment", namespace, AGENT)
    standin.until_said("AgentDeployment", namespace, "cartpole", "Ready", "Deciding")
    standin.until_said("PolicyVersion", namespace, "cartpole-2", "Verified", "Verified")
    bad = {"spec": {"policyVersion": "cartpole-2", "template": {"nodeSelector": {"not a label!": "x"}}}}
    standin.patch("AgentDeployment", namespace, "cartpole", bad)
    message = standin.until_said("AgentDeployment", namespace, "cartpole", "Progressing", "Invalid")
    assert "nodeSelector" in message

    def stable() -> Any:
        return (standin.get("AgentDeployment", namespace, "cartpole") or {})["status"]["stable"]["name"]

    standin.until(lambda: stable() == "cartpole-2", "the version is switched all the same")
    standin.patch("AgentDeployment", namespace, "cartpole", {"spec": {"template": None}})
    standin.until_said("AgentDeployment", namespace, "cartpole", "Progressing", "Complete")


@pytest.mark.parametrize(
    ("kind", "child", "owner", "type_"),
    [
        pytest.param("Job", "cartpole-probe-1", ("RLEnvironment", ENVIRONMENT), "Ready", id="a Job"),
        pytest.param("StatefulSet", "cartpole-agent", ("AgentDeployment", AGENT), "Progressing", id="a StatefulSet"),
    ],
)
def test_a_child_that_is_held_is_told(
    standin: Standin, kind: str, child: str, owner: tuple[str, Raw], type_: str
) -> None:
    namespace = f"held-{kind.lower()}"
    play = standin.join(namespace)
    play.hold = {"probe"}
    standin.create(owner[0], namespace, owner[1])
    standin.until(lambda: child in standin.names(kind, namespace), "the child")
    standin.patch(kind, namespace, child, {"metadata": {"finalizers": [HELD]}})
    standin.delete(kind, namespace, child)
    message = standin.until_said(owner[0], namespace, "cartpole", type_, "BeingDeleted")
    assert f"{kind} {child} is being deleted, and held by {HELD}" in message
    standin.patch(kind, namespace, child, {"metadata": {"finalizers": None}})
    standin.until(
        lambda: (
            standin.said(owner[0], namespace, "cartpole", type_)[0] != "BeingDeleted"
            and "deletionTimestamp"
            not in (standin.get(kind, namespace, child) or {"metadata": {"deletionTimestamp": 1}})["metadata"]
        ),
        "another one in its place",
    )


def test_an_owner_that_is_held_says_so(standin: Standin, operator: Operator) -> None:
    namespace = "held-owner"
    standin.join(namespace)
    standin.create("RLEnvironment", namespace, {**ENVIRONMENT, "metadata": {"name": "cartpole", "finalizers": [HELD]}})
    standin.until_said("RLEnvironment", namespace, "cartpole", "Ready", "Probed")
    standin.delete("RLEnvironment", namespace, "cartpole")
    message = standin.until_said("RLEnvironment", namespace, "cartpole", "Reconciled", "BeingDeleted")
    assert f"RLEnvironment cartpole is being deleted, and held by {HELD}" in message
    standin.patch("RLEnvironment", namespace, "cartpole", {"metadata": {"finalizers": None}})
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    standin.until_said("RLEnvironment", namespace, "cartpole", "Ready", "Probed")


def test_a_namespace_that_is_terminating_is_left_in_peace(
    standin: Standin, operator: Operator, controlplane: ControlPlane
) -> None:
    namespace = "terminating"
    play = standin.join(namespace)
    play.hold = {"probe"}
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    standin.until_said("RLEnvironment", namespace, "cartpole", "Ready", "Probing")
    standin.server.send("DELETE", f"/api/v1/namespaces/{namespace}")  # nobody finalizes it here
    standin.patch("RLEnvironment", namespace, "cartpole", {"spec": {"version": "2"}})
    standin.until_said("RLEnvironment", namespace, "cartpole", "Ready", "NamespaceTerminating")
    resyncs(standin, operator, 1)
    before = len(writes(controlplane.audit_log, namespace))
    resyncs(standin, operator, 3)
    assert len(writes(controlplane.audit_log, namespace)) - before <= 6
