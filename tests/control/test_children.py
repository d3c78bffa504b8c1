"""What is seen of Jobs and pods, from objects as the API server shows them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.control import builders as b

from checkrein.api.tasks import ProbeReport
from checkrein.control.children import JobView, PodView, job_view, last_words, parse_report, pod_view, warning

CREATED = "2026-01-01T11:59:00Z"
KILLED = {"exitCode": 137, "reason": "Error"}
TAKEN = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "EvictionByEvictionAPI",
    "message": "Eviction API: evicting",
}


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
            raw_pod(phase="Failed", reason="Evicted", message="low on memory", **container(terminated=KILLED)),
            {"exit_code": 137, "ended": "Evicted", "message": "low on memory", "over": True},
            id="evicted",
        ),
        pytest.param(
            raw_pod(phase="Running", conditions=[TAKEN], **container(running={})),
            {"problem": ("Disrupted", "the pod is being taken away (EvictionByEvictionAPI: Eviction API: evicting)")},
            id="being evicted",
        ),
        pytest.param(
            raw_pod(**container(waiting={"reason": "ImagePullBackOff", "message": "no such image"})),
            {"problem": ("ImagePullBackOff", "no such image")},
            id="image cannot be pulled",
        ),
        pytest.param(
            raw_pod(
                containerStatuses=[
                    {
                        "name": "main",
                        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                    }
                ]
            ),
            {
                "problem": (
                    "CrashLoopBackOff",
                    "back-off 10s; it ended with exit code 137 (OOMKilled); raise "
                    "spec.template.resources.limits.memory",
                )
            },
            id="killed again and again",
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


def disrupted(reason: str = "PodFailurePolicy", of: str = "condition DisruptionTarget") -> JobView:
    message = f"Pod games/a-train-1-x has {of} matching FailJob rule at index 0"
    return job_view(raw_job({"type": "Failed", "reason": reason, "message": message, **END}), [])


@pytest.mark.parametrize(
    ("job", "is_disrupted"),
    [
        pytest.param(disrupted(), True, id="the Job says that its pod was taken away"),
        pytest.param(disrupted(of="exit code 2"), False, id="another rule of its policy"),
        pytest.param(disrupted("BackoffLimitExceeded"), False, id="another reason"),
        pytest.param(job_view(raw_job(), []), False, id="it runs"),
    ],
)
def test_a_job_tells_of_the_pod_that_was_taken_away(job: JobView, is_disrupted: bool) -> None:
    assert job.disrupted is is_disrupted


CREATING: dict[str, Any] = container(waiting={"reason": "ContainerCreating"})


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        pytest.param(raw_pod(**CREATING), ("PodNotStarted", "has not started yet (ContainerCreating)"), id="a minute"),
        pytest.param(raw_pod(created="2026-01-01T11:59:01Z", **CREATING), None, id="not a minute yet"),
        pytest.param(raw_pod(**container(running={})), None, id="it runs"),
        pytest.param(raw_pod(phase="Failed", **container(terminated=KILLED)), None, id="it ran"),
    ],
)
def test_a_pod_that_does_not_start_is_told(pod: dict[str, Any], said: tuple[str, str] | None) -> None:
    found = job_view(raw_job(), [pod]).problem(b.NOW + timedelta(seconds=1))
    assert (found and found[0]) == (said and said[0])
    assert said is None or (found and said[1] in found[1])


@pytest.mark.parametrize(
    ("note", "plain"),
    [
        pytest.param(
            'Error creating: pods "a-train-1-x7k2p" is forbidden: exceeded quota: none, requested: pods=1',
            "exceeded quota: none, requested: pods=1",
            id="refused",
        ),
        pytest.param(
            '(combined from similar events): Error creating: pods "a-train-1-9xk2p" is forbidden: violates PodSecurity',
            "violates PodSecurity",
            id="refused again and again",
        ),
        pytest.param(
            'Error creating: admission webhook "sign.example.com" denied the request: unsigned',
            'admission webhook "sign.example.com" denied the request: unsigned',
            id="refused by a webhook",
        ),
        pytest.param(
            'MountVolume.SetUp failed for volume "store"', 'MountVolume.SetUp failed for volume "store"', id="else"
        ),
    ],
)
def test_a_warning_is_the_same_for_each_try(note: str, plain: str) -> None:
    assert warning(note) == plain


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


@pytest.mark.parametrize(
    ("pod", "words"),
    [
        pytest.param(
            {"ended": "OOMKilled", "exit_code": 137, "memory_limit": "1Gi"},
            "it took more memory than its limit of 1Gi; raise spec.template.resources.limits.memory in another",
            id="memory, with a limit",
        ),
        pytest.param(
            {"ended": "OOMKilled", "exit_code": 137}, "it took more memory than there was on its node", id="no limit"
        ),
        pytest.param(
            {"ended": "Evicted", "message": "Pod ephemeral local storage usage exceeds the total limit of 1Mi. "},
            "exceeds the total limit of 1Mi; raise spec.template.resources.limits.ephemeral-storage in another",
            id="disk",
        ),
        pytest.param(
            {"ended": "Evicted", "message": "The node was low on resource: memory."},
            "low on resource",
            id="a full node",
        ),
    ],
)
def test_last_words_name_what_it_took_too_much_of(pod: dict[str, Any], words: str) -> None:
    _, message = last_words(b.failed_job("j", pod=PodView(name="p", phase="Failed", **pod)), "spec.template")
    assert words in message


def test_a_probe_has_no_template_to_name() -> None:
    _, message = last_words(b.failed_job("j", exit_code=137, ended="OOMKilled"))
    assert message.endswith("it took more memory than there was on its node")


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
