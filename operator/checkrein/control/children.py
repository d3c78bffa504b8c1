"""What planners see of Jobs and pods: the few facts that decide, read from raw objects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from pydantic import ValidationError

from checkrein.api.meta import Model, bounded
from checkrein.api.names import COMPONENT, QUEUE

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
POD_START_PATIENCE = timedelta(minutes=1)
NO_POD, NOT_STARTED = "PodNotCreated", "PodNotStarted"
DISRUPTION = "DisruptionTarget"  # a condition of pods that the cluster takes away (Kubernetes, "Disruptions")


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
    message: str = ""
    uid: str = ""
    created_at: datetime | None = None
    waiting: str = ""
    memory_limit: str = ""
    image: str = ""
    problem: tuple[str, str] | None = None

    @property
    def over(self) -> bool:
        """Its containers have ended for good."""
        return self.phase in ("Succeeded", "Failed")

    def keeps(self, now: datetime) -> tuple[str, str] | None:
        """Why its container does not run yet: reason and sentence."""
        if self.problem or self.running or self.over or self.created_at is None:
            return self.problem
        if now - self.created_at > POD_START_PATIENCE:
            what = self.waiting or self.phase
            return (
                NOT_STARTED,
                f"pod {self.name} has not started yet ({what}); `kubectl describe pod {self.name}` says why",
            )
        return None


@dataclass(frozen=True)
class JobView:
    """One Job of ours and its newest pod."""

    name: str
    succeeded: bool = False
    failed: bool = False
    failure: str = ""
    uid: str = ""
    created_at: datetime | None = None
    finished_at: datetime | None = None
    held: str = ""
    pod: PodView | None = None
    component: str = ""
    suspended: bool = False
    queue: str = ""
    """Kueue's, which alone says when it runs."""

    @property
    def finished(self) -> bool:
        return self.succeeded or self.failed

    @property
    def disrupted(self) -> bool:
        """Its pod was taken away by the cluster; told by the Job, whose word is there when the pod is gone."""
        return self.failed and self.failure.startswith("PodFailurePolicy") and DISRUPTION in self.failure

    def problem(self, now: datetime) -> tuple[str, str] | None:
        """Why nothing runs yet, where that is known: reason and sentence."""
        if self.finished:
            return None
        if self.held:  # its controller starts no pod any more
            return "BeingDeleted", f"Job {self.name} {self.held}"
        if self.pod is not None:
            return self.pod.keeps(now)
        # A Job whose pods are refused at admission has no condition of its own: only the pod's absence tells.
        if self.created_at and now - self.created_at > POD_CREATION_PATIENCE:
            return NO_POD, f"Job {self.name} has no pod yet; `kubectl describe job {self.name}` says why"
        return None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def held_by(obj: Raw) -> str:
    """What keeps an object that is being deleted, as a sentence's rest; empty where it is not being deleted."""
    meta = obj["metadata"]
    if "deletionTimestamp" not in meta:
        return ""
    finalizers = ", ".join(meta.get("finalizers", ()))
    if not finalizers:
        return "is being deleted"
    return f"is being deleted, and held by {finalizers}: whoever set that must take it out"


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
        ended=status.get("reason") or terminated.get("reason", ""),  # Evicted says more than Error
        report=terminated.get("message", ""),
        message=status.get("message", ""),
        uid=pod["metadata"].get("uid", ""),
        created_at=_time(pod["metadata"].get("creationTimestamp")),
        waiting=(state.get("waiting") or {}).get("reason", ""),
        memory_limit=_memory_limit(pod),
        image=container.get("imageID", "").removeprefix("docker-pullable://"),
        problem=_problem(status, state.get("waiting") or {}),
    )


def _memory_limit(pod: Raw) -> str:
    container: Raw = next(iter(pod.get("spec", {}).get("containers", ())), {})
    return str(container.get("resources", {}).get("limits", {}).get("memory", ""))


def _before(status: Raw) -> str:
    """How a container that is started again and again ended last."""
    container: Raw = next(iter(status.get("containerStatuses", ())), {})
    last = container.get("lastState", {}).get("terminated")
    if not last:
        return ""
    mend = "; raise spec.template.resources.limits.memory" if last.get("reason") == "OOMKilled" else ""
    return f"; it ended with exit code {last.get('exitCode')} ({last.get('reason')}){mend}"


def _problem(status: Raw, waiting: Raw) -> tuple[str, str] | None:
    """Why the pod does not get to run, if that is known."""
    if waiting.get("reason") in STUCK_WAITING:
        return waiting["reason"], waiting.get("message", "") + _before(status)
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return "Unschedulable", condition.get("message", "")
        if condition["type"] == DISRUPTION and condition["status"] == "True":
            return "Disrupted", f"the pod is being taken away ({condition.get('reason')}: {condition.get('message')})"
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
    # A suspended Job, and one that goes on and has not been looked at since, is not waited for.
    since = job.get("status", {}).get("startTime") or job["metadata"].get("creationTimestamp")
    labels = job["metadata"].get("labels", {})
    return JobView(
        name=job["metadata"]["name"],
        succeeded="Complete" in conditions,
        failed="Failed" in conditions,
        uid=uid,
        created_at=None if "Suspended" in conditions else _time(since),
        failure=": ".join(filter(None, (end.get("reason"), end.get("message")))) if end else "",
        finished_at=_time(end["lastTransitionTime"]) if end else None,
        held=held_by(job),
        pod=pod_view(mine[-1]) if mine else None,
        component=labels.get(COMPONENT, ""),
        suspended=bool(job.get("spec", {}).get("suspend")),
        queue=labels.get(QUEUE, ""),
    )


def parse_report(model: type[M], text: str) -> M | None:
    """The pod's last words as a model; None where it had none that can be read."""
    try:
        return model.model_validate_json(text)
    except ValidationError:
        return None


def last_words(job: JobView, template: str = "") -> tuple[str, str]:
    """Reason and message for a Job whose pod left no report: what Kubernetes knows of its end.

    `template` is the field that says what the pod may use, where people have one.
    """
    pod = job.pod
    if job.disrupted:
        why = f": {pod.message}" if pod and pod.message else ""
        return "Disrupted", f"the pod of Job {job.name} was evicted or preempted, or its node went away{why}"
    if pod is None:
        return "PodLost", f"Job {job.name} ended without a pod to ask: {job.failure or 'the pod was deleted'}"
    reason = pod.ended or ("Killed" if pod.exit_code else "PodLost")
    code = f" with exit code {pod.exit_code}" if pod.exit_code is not None else ""
    said = _outgrown(pod, template) or pod.message or pod.report or job.failure or "no report"
    return reason, bounded(f"pod {pod.name} ended{code} ({reason}): {said}")


def _outgrown(pod: PodView, template: str) -> str:
    """What it took too much of, and the mend; empty where that was not the reason."""
    if pod.ended == "OOMKilled":
        resource = "memory"
        limit = f"its limit of {pod.memory_limit}" if pod.memory_limit else "there was on its node"
        said = f"it took more memory than {limit}"
    elif pod.ended == "Evicted" and "ephemeral" in pod.message:
        resource, said = "ephemeral-storage", pod.message.rstrip(" .")
    else:
        return ""
    return f"{said}; raise {template}.resources.limits.{resource} in another TrainingJob" if template else said


_PREFIXES = re.compile(r"^(\(combined from similar events\): )?(Error creating: )?(pods \"[^\"]+\" is forbidden: )?")


def warning(note: str) -> str:
    """An Event's note without what changes from one try to the next: the name that the pod would have had."""
    return _PREFIXES.sub("", note).strip()
