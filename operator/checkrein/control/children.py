"""What planners see of Jobs and pods: the few facts that decide, read from raw objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from pydantic import ValidationError

from checkrein.api.meta import Model, bounded

Raw = Mapping[str, Any]
M = TypeVar("M", bound=Model)

# A container that waits for one of these waits for a person (kubelet, pkg/kubelet/images and kuberuntime).
STUCK_WAITING = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "CrashLoopBackOff",
    }
)

POD_CREATION_PATIENCE = timedelta(seconds=10)


@dataclass(frozen=True)
class PodView:
    """One pod of ours."""

    name: str
    phase: str
    address: str = ""
    ready: bool = False
    running: bool = False
    deleting: bool = False
    exit_code: int | None = None
    ended: str = ""
    report: str = ""
    image: str = ""
    problem: tuple[str, str] | None = None

    @property
    def over(self) -> bool:
        """Its containers have ended for good."""
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True)
class JobView:
    """One Job of ours and its newest pod."""

    name: str
    succeeded: bool = False
    failed: bool = False
    failure: str = ""
    created_at: datetime | None = None
    finished_at: datetime | None = None
    pod: PodView | None = None

    @property
    def finished(self) -> bool:
        return self.succeeded or self.failed

    def problem(self, now: datetime) -> tuple[str, str] | None:
        """Why nothing runs yet, where that is known: reason and sentence."""
        if self.finished:
            return None
        if self.pod is not None:
            return self.pod.problem
        # A Job whose pods are refused at admission has no condition of its own: only the pod's absence tells.
        if self.created_at and now - self.created_at > POD_CREATION_PATIENCE:
            return "PodNotCreated", f"Job {self.name} has no pod yet; `kubectl describe job {self.name}` says why"
        return None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def owner_uid(obj: Raw) -> str:
    """uid of the controlling owner; empty where there is none."""
    owners = obj["metadata"].get("ownerReferences", ())
    return next((o["uid"] for o in owners if o.get("controller")), "")


def pod_view(pod: Raw) -> PodView:
    """The facts of one pod with one container."""
    status = pod.get("status", {})
    container: Raw = next(iter(status.get("containerStatuses", ())), {})
    state = container.get("state", {})
    terminated = state.get("terminated") or {}
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ()))
    return PodView(
        name=pod["metadata"]["name"],
        phase=status.get("phase", "Pending"),
        address=status.get("podIP", ""),
        ready=ready,
        running="running" in state,
        deleting="deletionTimestamp" in pod["metadata"],
        exit_code=terminated.get("exitCode"),
        ended=terminated.get("reason") or status.get("reason", ""),
        report=terminated.get("message", ""),
        image=container.get("imageID", "").removeprefix("docker-pullable://"),
        problem=_problem(status, state.get("waiting") or {}),
    )


def _problem(status: Raw, waiting: Raw) -> tuple[str, str] | None:
    """Why the pod does not get to run, if that is known."""
    if waiting.get("reason") in STUCK_WAITING:
        return waiting["reason"], waiting.get("message", "")
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return "Unschedulable", condition.get("message", "")
    return None


def job_view(job: Raw, pods: Iterable[Raw]) -> JobView:
    """The facts of one Job; of its pods the newest speaks (creation time, then name, decide)."""
    uid = job["metadata"].get("uid", "")
    mine = sorted(
        (p for p in pods if owner_uid(p) == uid),
        key=lambda p: (p["metadata"].get("creationTimestamp", ""), p["metadata"]["name"]),
    )
    conditions = {c["type"]: c for c in job.get("status", {}).get("conditions", ()) if c["status"] == "True"}
    end = conditions.get("Complete") or conditions.get("Failed")
    return JobView(
        name=job["metadata"]["name"],
        succeeded="Complete" in conditions,
        failed="Failed" in conditions,
        created_at=_time(job["metadata"].get("creationTimestamp")),
        failure=": ".join(filter(None, (end.get("reason"), end.get("message")))) if end else "",
        finished_at=_time(end["lastTransitionTime"]) if end else None,
        pod=pod_view(mine[-1]) if mine else None,
    )


def parse_report(model: type[M], text: str) -> M | None:
    """The pod's last words as a model; None where it had none that can be read."""
    try:
        return model.model_validate_json(text)
    except ValidationError:
        return None


def last_words(job: JobView) -> tuple[str, str]:
    """Reason and message for a Job whose pod left no report: what Kubernetes knows of its end."""
    pod = job.pod
    if pod is None:
        return "PodLost", f"Job {job.name} ended without a pod to ask: {job.failure or 'the pod was deleted'}"
    reason = pod.ended or ("Killed" if pod.exit_code else "PodLost")
    code = f" with exit code {pod.exit_code}" if pod.exit_code is not None else ""
    return reason, bounded(f"pod {pod.name} ended{code} ({reason}): {pod.report or job.failure or 'no report'}")
