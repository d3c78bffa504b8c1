"""Jobs that are suspended and queued, by the operator's process on a real API server; the test plays Kueue."""

from __future__ import annotations

import pytest
from tests.cluster.controlplane import ControlPlane
from tests.control.audit import writes
from tests.control.objects import ENVIRONMENT, Raw, job
from tests.control.standin import PROGRESS, Play, Standin

pytestmark = [pytest.mark.controlplane, pytest.mark.store]
LABELS = {"kueue.x-k8s.io/queue-name": "gpus", "kueue.x-k8s.io/priority-class": "low"}


def status(standin: Standin, namespace: str) -> Raw:
    found: Raw = (standin.get("TrainingJob", namespace, "a") or {}).get("status", {})
    return found


def until_training(standin: Standin, namespace: str) -> None:
    standin.until(
        lambda: (
            status(standin, namespace).get("progress") == PROGRESS.progress.dump()
            and standin.said("TrainingJob", namespace, "a", "Complete")[0] == "Training"
        ),
        "the trainer's progress is shown",
    )


def admit(standin: Standin, namespace: str, name: str, *, value: bool) -> None:
    """As Kueue does: by the Job's own field."""
    standin.patch("Job", namespace, name, {"spec": {"suspend": not value}})


def test_a_suspended_job_has_no_pod_and_goes_on_as_the_same_attempt(
    standin: Standin, play: Play, namespace: str
) -> None:
    play.hold = {"trainer"}
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    standin.create("TrainingJob", namespace, job())
    until_training(standin, namespace)

    standin.patch("TrainingJob", namespace, "a", {"spec": {"suspend": True}})
    message = standin.until_said("TrainingJob", namespace, "a", "Complete", "Suspended")
    assert "its newest checkpoint then (step 2000 or later)" in message
    standin.until(lambda: standin.get("Pod", namespace, "a-train-1-x") is None, "the pod has ended")
    held = status(standin, namespace)
    assert (held["phase"], held["attempt"], held.get("startTime")) == ("Suspended", 1, None)

    play.hold = set()
    standin.patch("TrainingJob", namespace, "a", {"spec": {"suspend": False}})
    standin.until_said("TrainingJob", namespace, "a", "Complete", "Published")
    assert status(standin, namespace)["attempt"] == 1
    assert [n for n in standin.names("Job", namespace) if n.startswith("a-")] == ["a-evaluate-1", "a-train-1"]
    assert standin.said("TrainingJob", namespace, "a", "Suspended")[:2] == ("Resumed", "False")


def test_a_queue_starts_and_stops_its_jobs_and_nobody_else_does(
    standin: Standin, play: Play, namespace: str, controlplane: ControlPlane
) -> None:
    play.hold = {"trainer"}
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    wanted = job()
    wanted["metadata"]["labels"] = LABELS
    standin.create("TrainingJob", namespace, wanted)

    assert "admission by queue 'gpus'" in standin.until_said("TrainingJob", namespace, "a", "Complete", "Queued")
    made = standin.get("Job", namespace, "a-train-1")
    assert made
    assert made["spec"]["suspend"] is True
    assert LABELS.items() <= made["metadata"]["labels"].items()
    assert status(standin, namespace).get("startTime") is None

    admit(standin, namespace, "a-train-1", value=True)
    until_training(standin, namespace)
    admit(standin, namespace, "a-train-1", value=False)  # evicted
    standin.until_said("TrainingJob", namespace, "a", "Complete", "Queued")
    standin.until(lambda: standin.get("Pod", namespace, "a-train-1-x") is None, "the pod has ended")
    play.hold = set()
    admit(standin, namespace, "a-train-1", value=True)
    standin.until(lambda: standin.get("Job", namespace, "a-evaluate-1") is not None, "the evaluation's Job is made")
    standin.until_said("TrainingJob", namespace, "a", "Complete", "Queued")
    admit(standin, namespace, "a-evaluate-1", value=True)
    standin.until_said("TrainingJob", namespace, "a", "Complete", "Published")
    assert status(standin, namespace)["attempt"] == 1
    assert not [w for w in writes(controlplane.audit_log, namespace) if w.startswith("patch jobs/")]


def test_a_person_s_word_takes_a_job_out_of_its_queue(standin: Standin, play: Play, namespace: str) -> None:
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    wanted = job()
    wanted["metadata"]["labels"] = LABELS
    standin.create("TrainingJob", namespace, wanted)
    standin.until_said("TrainingJob", namespace, "a", "Complete", "Queued")
    standin.patch("TrainingJob", namespace, "a", {"spec": {"suspend": True}})
    standin.until_said("TrainingJob", namespace, "a", "Complete", "Suspended")
    standin.until(lambda: standin.get("Job", namespace, "a-train-1") is None, "the Job has left the queue")
    standin.patch("TrainingJob", namespace, "a", {"spec": {"suspend": False}})
    standin.until_said("TrainingJob", namespace, "a", "Complete", "Queued")
    assert status(standin, namespace)["attempt"] == 1
