"""What a cluster does to pods: refuses, starves, evicts, drains. Each is told, and goes on when it is mended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster.steps import ClusterError, wait_until
from tests.e2e.test_training import LONG
from tests.e2e.world import PATIENCE, World, condition

ENDLESS = {**LONG, "budget": {"steps": 10_000_000}}
TRAINING_JOB, ENVIRONMENT = "trainingjob", "rlenvironment"
LABEL = "tests.checkrein.dev/disk"
POLICY = "tests-unsigned"
ADMISSION = "admissionregistration.k8s.io/v1"


def limited(**limits: str) -> dict[str, Any]:
    """A template with so little room; and one attempt only, so that the first end is the last."""
    requests = {"cpu": "50m", "memory": "64Mi"}
    return {"template": {"resources": {"requests": requests, "limits": limits}}, "backoffLimit": 0}


@pytest.fixture(scope="module")
def faulty(shared: World) -> World:
    """All jobs that end or wait by themselves run side by side."""
    shared.cartpole()
    shared.train("hungry", **limited(memory="96Mi"))
    shared.train("messy", **ENDLESS, **limited(**{"ephemeral-storage": "1Ki"}))
    shared.train("huge", template={"resources": {"requests": {"cpu": "999"}}}, publish={"policy": "huge"})
    shared.train("picky", template={"nodeSelector": {LABEL: "fast"}}, publish={"policy": "picky"})
    return shared


def refusing(world: World) -> tuple[dict[str, Any], dict[str, Any]]:
    """An admission policy that takes no pod of this namespace, as a webhook that verifies signatures would."""
    mine = {"matchLabels": {"kubernetes.io/metadata.name": world.name}}
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    spec = {
        "matchConstraints": {"namespaceSelector": mine, "resourceRules": [pods]},
        "validations": [{"expression": "false", "message": "the image is not signed"}],
    }
    binding = {"policyName": POLICY, "validationActions": ["Deny"]}
    name = {"apiVersion": ADMISSION, "metadata": {"name": POLICY}}
    return (
        {**name, "kind": "ValidatingAdmissionPolicy", "spec": spec},
        {**name, "kind": "ValidatingAdmissionPolicyBinding", "spec": binding},
    )


@pytest.fixture
def quota(world: World) -> Iterator[World]:
    """A namespace whose quota leaves no room for a pod. No admission policy of ours is left behind."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "no-pods"}}
    world.cluster.kubectl.apply({**quota, "spec": {"hard": {"pods": "0"}}}, namespace=world.name)
    world.until("resourcequota", "no-pods", lambda o: "used" in o.get("status", {}), "counted")
    yield world
    delete_policy(world)


def delete_policy(world: World) -> None:
    for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
        world.cluster.kubectl("delete", kind, POLICY, "--ignore-not-found")


def test_pods_that_are_refused_say_by_whom_and_come_when_it_is_mended(faulty: World, quota: World) -> None:
    """Refused by a quota, then by an admission policy: the Job itself has no word for it."""
    quota.environment("cartpole", "CartPole-v1")
    message = quota.until_condition(ENVIRONMENT, "cartpole", "Ready", "False", "PodRefused")
    assert message.startswith("Job cartpole-probe-1 cannot create its pod: exceeded quota: no-pods, requested: pods=1")
    quota.cluster.kubectl.apply(*refusing(quota))
    template = quota.get("job", "cartpole-probe-1")["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "like-it"}, "spec": template["spec"]}
    quota.until_refused(["create", "--dry-run=server", "-f", "-"], json.dumps(pod), "not signed")
    quota.kubectl("delete", "resourcequota", "no-pods")
    obj = quota.until(ENVIRONMENT, "cartpole", lambda o: "signed" in condition(o, "Ready")["message"], "refused")
    assert POLICY in condition(obj, "Ready")["message"]
    delete_policy(quota)
    quota.until_condition(ENVIRONMENT, "cartpole", "Ready", "True", "Probed")


def test_a_trainer_that_takes_too_much_memory_is_told_where_to_raise_it(faulty: World) -> None:
    message = faulty.until_condition(TRAINING_JOB, "hungry", "Failed", "True", "BackoffLimitExceeded")
    assert "OOMKilled" in message
    assert "it took more memory than its limit of 96Mi; raise spec.template.resources.limits.memory" in message


def test_a_pod_that_fits_nowhere_says_why(faulty: World) -> None:
    message = faulty.until_condition(TRAINING_JOB, "huge", "Complete", "False", "Unschedulable")
    assert "Insufficient cpu" in message
    faulty.kubectl("delete", TRAINING_JOB, "huge")


def test_a_pod_that_waits_for_a_node_starts_when_there_is_one(faulty: World) -> None:
    message = faulty.until_condition(TRAINING_JOB, "picky", "Complete", "False", "Unschedulable")
    assert "didn't match Pod's node affinity/selector" in message
    node = faulty.node()
    faulty.cluster.kubectl("label", "node", node, f"{LABEL}=fast")
    try:
        faulty.until_condition(TRAINING_JOB, "picky", "Complete", "False", "Training")
    finally:
        faulty.cluster.kubectl("label", "node", node, f"{LABEL}-")


def test_a_trainer_that_is_evicted_for_its_disk_is_told_where_to_raise_it(faulty: World) -> None:
    message = faulty.until_condition(TRAINING_JOB, "messy", "Failed", "True", "BackoffLimitExceeded")
    assert "Evicted" in message
    assert "raise spec.template.resources.limits.ephemeral-storage" in message


def notes(world: World, name: str) -> list[str]:
    """What Events say of an object."""
    told = json.loads(world.kubectl("get", "events", "-o", "json"))["items"]
    return [e["message"] for e in told if e["involvedObject"]["name"] == name]


def test_a_drained_node_costs_no_attempt_and_no_checkpoint(faulty: World) -> None:
    """`kubectl drain` evicts by the API; with backoffLimit 0 a failure of the job's own would end it."""
    faulty.train("drained", **ENDLESS, publish={"policy": "drained"}, backoffLimit=0)
    faulty.until(TRAINING_JOB, "drained", lambda o: bool(o["status"].get("checkpoint")), "checkpointed")
    node = faulty.node()
    only = ("--pod-selector=batch.kubernetes.io/job-name=drained-train-1", "--delete-emptydir-data", "--timeout=180s")
    try:
        faulty.cluster.kubectl("drain", node, *only, seconds=200)
        message = faulty.until_condition(TRAINING_JOB, "drained", "Complete", "False", "Unschedulable")
        assert "unschedulable" in message
    finally:
        faulty.cluster.kubectl("uncordon", node)
    drained = faulty.until(TRAINING_JOB, "drained", lambda o: "is training" in condition(o, "Complete")["message"])
    assert (drained["status"]["attempt"], drained["status"]["disruptions"]) == (2, 1)
    read = lambda: "resuming from step" in faulty.kubectl("logs", "job/drained-train-2")  # noqa: E731
    wait_until(read, PATIENCE, otherwise=lambda: ClusterError("the second attempt began anew"))

    def noted() -> bool:
        return any("Disrupted" in note and "was evicted or preempted" in note for note in notes(faulty, "drained"))

    wait_until(noted, PATIENCE, otherwise=lambda: ClusterError(f"not told: {notes(faulty, 'drained')}"))
    faulty.kubectl("delete", TRAINING_JOB, "drained")
