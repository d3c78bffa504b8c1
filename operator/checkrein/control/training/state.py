"""What the stages of a TrainingJob share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from checkrein.api import conditions
from checkrein.api.environment import RLEnvironment
from checkrein.api.meta import ObjectMeta
from checkrein.api.policy import PolicyVersion
from checkrein.api.spaces import Interface
from checkrein.api.tasks import JobIdentity
from checkrein.api.training import TrainingJob, TrainingJobStatus
from checkrein.control.children import JobView
from checkrein.control.conditions import Writer
from checkrein.control.plan import Plan, Reference
from checkrein.control.requests import Owner
from checkrein.control.settings import Settings
from checkrein.control.workloads.pods import owner_reference


@dataclass(frozen=True)
class Observed:
    """What the planner sees beside the object itself."""

    environment: RLEnvironment | None
    jobs: Mapping[str, JobView]
    settings: Settings
    cluster: str
    parent: PolicyVersion | None = None  # the newest version that the policy has so far


def is_finished(status: TrainingJobStatus) -> bool:
    """Complete or Failed, for good."""
    return conditions.is_true(status.conditions, "Complete") or conditions.is_true(status.conditions, "Failed")


def running(observed: Observed) -> tuple[Reference, ...]:
    """Child Jobs that still take up room."""
    return tuple(Reference("Job", j.name, j.uid) for j in observed.jobs.values() if not j.finished)


def failed(job: TrainingJob, observed: Observed, write: Writer, reason: str, message: str) -> Plan:
    """The end without a policy; what runs is stopped."""
    status = write.put(job.status, "Complete", False, reason, message)
    end = timestamp(write)
    status = write.put(status, "Failed", True, reason, message, phase="Failed", completion_time=end)
    return Plan(status=status, delete=running(observed))


def timestamp(write: Writer) -> str:
    """Now, as status keeps it."""
    return write.now.replace(microsecond=0).isoformat()


def job_identity(job: TrainingJob, observed: Observed) -> JobIdentity:
    """Whose work a pod does."""
    meta = job.metadata
    return JobIdentity(cluster=observed.cluster, namespace=meta.namespace, name=meta.name, uid=meta.uid)


def ready_environment(observed: Observed) -> tuple[RLEnvironment, Interface, str]:
    """The environment with its spaces and the image that was probed. The planner has waited for it."""
    environment = observed.environment
    if environment is None or environment.status.spaces is None:
        raise AssertionError("stages are planned only with a Ready environment")
    image = environment.status.image or environment.spec.image or observed.settings.images.trainer
    return environment, environment.status.spaces, image


def owner(kind: str, metadata: ObjectMeta) -> Owner:
    """An owner reference that can be part of a request (hashable)."""
    return tuple(sorted(owner_reference(kind, metadata).items()))
