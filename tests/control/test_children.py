"""What is seen of Jobs and pods, from objects as the API server shows them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.control import builders as b

from checkrein.api.tasks import ProbeReport
from checkrein.control.children import JobView, PodView, job_view, last_words, parse_report, pod_view

CREATED = "2026-01-01T11:59:00Z"


def raw_pod(name: str = "a-x", job: str = "job-uid", created: str = CREATED, **status: Any) -> dict[str, Any]:
    owners = [
        {"uid": "not-the-controller"},
        {"uid": job, "controller": True},
    ]
    return {"metadata": {"name": name, "creationTimestamp": created, "ownerReferences": owners}, "status": status}


def container(image: str = "", **state: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "main", "imageID": image, "state": state}]}


def raw_job(*conditions: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "a-train-1", "uid": "job-uid", "creationTimestamp": CREATED}
    return {"metadata": metadata, "status": {"conditions": list(conditions)}}


@pytest.mark.parametrize(
    ("pod", "seen"),
    [
        pytest.param(raw_pod(), {"phase": "Pending", "running": False, "over": False}, id="just created"),
        pytest.param(
            raw_pod(phase="Running", podIP="10.0.0.1", **container("docker-pullable://x@sha256:1", running={})),
            {"phase": "Running", "address": "10.0.0.1", "running": True, "ready": False, "image": "x@sha256:1"},
            id="running",
        ),
        pytest.param(
            raw_pod(phase="Running", conditions=[{"type": "Ready", "status": "True"}], **container(running={})),
            {"ready": True},
            id="ready",
        ),
        pytest.param(
            raw_pod(phase="Running", conditions=[{"type": "Ready", "status": "False"}], **container(running={})),
            {"ready": False},
            id="not ready",
        ),
        pytest.param(
            raw_pod(phase="Failed", **container(terminated={"exitCode": 137, "reason": "OOMKilled", "message": "m"})),
            {"exit_code": 137, "ended": "OOMKilled", "report": "m", "over": True},
            id="killed",
        ),
        pytest.param(
            raw_pod(phase="Failed", reason="Evicted"),
            {"exit_code": None, "ended": "Evicted", "over": True},
            id="evicted",
        ),
        pytest.param(
            raw_pod(**container(waiting={"reason": "ImagePullBackOff", "message": "no such image"})),
            {"problem": ("ImagePullBackOff", "no such image")},
            id="image cannot be pulled",
        ),
        pytest.param(raw_pod(**container(waiting={"reason": "ContainerCreating"})), {"problem": None}, id="starting"),
        pytest.param(
            raw_pod(
                conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1"}]
            ),
            {"problem": ("Unschedulable", "0/1")},
            id="no node for it",
        ),
    ],
)
def test_pod_view(pod: dict[str, Any], seen: dict[str, Any]) -> None:
    view = pod_view(pod)
    assert {key: getattr(view, key) for key in seen} == seen


def test_a_pod_that_is_being_deleted_says_so() -> None:
    pod = raw_pod()
    pod["metadata"]["deletionTimestamp"] = CREATED
    assert pod_view(pod).deleting
    assert not pod_view(raw_pod()).deleting


END = {"lastTransitionTime": "2026-01-01T11:59:50Z", "status": "True"}


@pytest.mark.parametrize(
    ("job", "seen"),
    [
        pytest.param(raw_job(), {"finished": False, "created_at": b.ago(60), "finished_at": None}, id="running"),
        pytest.param(
            raw_job({"type": "Complete", **END}),
            {"succeeded": True, "failed": False, "finished_at": b.ago(10)},
            id="complete",
        ),
        pytest.param(
            raw_job({"type": "FailureTarget", **END}), {"finished": False}, id="about to fail, pods still run"
        ),
        pytest.param(
            raw_job({"type": "Failed", "reason": "DeadlineExceeded", "message": "too long", **END}),
            {"failed": True, "failure": "DeadlineExceeded: too long", "finished_at": b.ago(10)},
            id="failed",
        ),
        pytest.param(
            raw_job({"type": "Failed", **END, "status": "False"}),
            {"finished": False},
            id="a condition that is not true",
        ),
    ],
)
def test_job_view(job: dict[str, Any], seen: dict[str, Any]) -> None:
    view = job_view(job, [])
    assert {key: getattr(view, key) for key in seen} == seen


def test_of_several_pods_the_newest_of_this_job_speaks() -> None:
    pods = [
        raw_pod("first", created="2026-01-01T11:59:01Z"),
        raw_pod("third", created="2026-01-01T11:59:03Z", job="another"),
        raw_pod("second-b", created="2026-01-01T11:59:02Z"),
        raw_pod("second-a", created="2026-01-01T11:59:02Z"),
    ]
    for order in (pods, pods[::-1]):
        view = job_view(raw_job(), order)
        assert view.pod
        assert view.pod.name == "second-b"


@pytest.mark.parametrize(
    ("job", "reason", "words"),
    [
        pytest.param(
            b.failed_job("j", exit_code=137, ended="OOMKilled"), "OOMKilled", "ended with exit code 137", id="killed"
        ),
        pytest.param(b.failed_job("j", exit_code=1), "Killed", "BackoffLimitExceeded", id="exit code alone"),
        pytest.param(
            b.failed_job("j", pod=PodView(name="p", phase="Failed", ended="Evicted")),
            "Evicted",
            "p ended",
            id="evicted",
        ),
        pytest.param(
            b.failed_job("j", pod=PodView(name="p", phase="Failed")),
            "PodLost",
            "BackoffLimitExceeded",
            id="nothing said",
        ),
        pytest.param(b.failed_job("j", "Traceback: boom"), "Killed", "Traceback: boom", id="the log's end"),
        pytest.param(
            JobView(name="j", failed=True),
            "PodLost",
            "Job j ended without a pod to ask: the pod was deleted",
            id="no pod",
        ),
    ],
)
def test_last_words(job: JobView, reason: str, words: str) -> None:
    said, message = last_words(job)
    assert said == reason
    assert words in message


def test_last_words_are_bounded() -> None:
    assert len(last_words(b.failed_job("j", "x" * 4096))[1]) <= 1024


@pytest.mark.parametrize(
    ("text", "known"),
    [
        pytest.param("{}", True, id="a report"),
        pytest.param('{"later": 1}', True, id="a later release's field"),
        pytest.param("", False, id="nothing"),
        pytest.param("Traceback", False, id="a log"),
        pytest.param('{"failure": {"reason": 1}}', False, id="other types"),
        pytest.param("[]", False, id="no object"),
    ],
)
def test_parse_report(text: str, known: bool) -> None:
    assert (parse_report(ProbeReport, text) is not None) is known
