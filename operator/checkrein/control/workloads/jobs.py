"""The three Jobs: probe, training attempt, evaluation.

Exit codes (checkrein.train): 0 done, 1 another attempt may help, 2 it would not; a Job stops at 2 at once.
"""

from __future__ import annotations

from typing import Any

from checkrein.api import names
from checkrein.api.environment import RLEnvironment
from checkrein.api.meta import Model, ObjectMeta, PodTemplate
from checkrein.api.tasks import SERVING_PORT, EvaluationTask, ProbeTask, TrainingTask
from checkrein.api.training import TrainingJob
from checkrein.control.settings import Settings
from checkrein.control.workloads import pods

PERMANENT_EXIT_CODE = 2
GRACE_SECONDS = 30  # for a last checkpoint
# The Job then says so itself: of an evicted pod nothing may be left to ask.
_TELL_DISRUPTIONS = {
    "rules": [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
}
_FAIL_AT_ONCE = {
    "rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [PERMANENT_EXIT_CODE]}},
    ]
}


def _job(kind: str, owner: ObjectMeta, name: str, component: str, pod: dict[str, Any], **spec: Any) -> dict[str, Any]:
    job = pods.child("batch/v1", "Job", name, component, kind, owner)
    template = {"metadata": {"labels": dict(job["metadata"]["labels"])}, "spec": {**pod, "restartPolicy": "Never"}}
    return {**job, "spec": {"template": template, **spec}}


def _worker(
    name: str, image: str, command: str, task: Model, template: PodTemplate, settings: Settings, secret: str | None
) -> dict[str, Any]:
    main = pods.container(name, image, [command], template, settings)
    main["env"] += [{"name": "OMP_NUM_THREADS", "value": "1"}, pods.task_variable(task)]
    volumes = []
    if secret:
        main["volumeMounts"].append(pods.store_mount())
        volumes.append(pods.secret_volume("store", secret))
    return pods.pod_spec(main, template, volumes, settings)


def probe(environment: RLEnvironment, settings: Settings) -> dict[str, Any]:
    """Job that checks one generation of an RLEnvironment."""
    task = ProbeTask(environment=environment.spec, timeout_seconds=settings.probe_timeout_seconds)
    image = environment.spec.image or settings.images.trainer
    pod = _worker("probe", image, "checkrein-probe", task, PodTemplate(), settings, None)
    # The pod's own deadline keeps its message; the Job's would delete it. The probe ends itself before.
    pod["activeDeadlineSeconds"] = settings.probe_timeout_seconds * 2 + 60
    name = names.probe_job(environment.metadata.name, environment.metadata.generation)
    return _job(
        "RLEnvironment", environment.metadata, name, "probe", pod, backoffLimit=2, podFailurePolicy=_FAIL_AT_ONCE
    )


def _queued(job: TrainingJob, made: dict[str, Any]) -> dict[str, Any]:
    """A Job of a TrainingJob; with a queue's labels it is created suspended, for the queue to start."""
    labels = {
        name: job.metadata.labels[name] for name in (names.QUEUE, names.QUEUE_PRIORITY) if name in job.metadata.labels
    }
    if names.QUEUE not in labels:
        return made
    metadata = {**made["metadata"], "labels": {**made["metadata"]["labels"], **labels}}
    return {**made, "metadata": metadata, "spec": {**made["spec"], "suspend": True}}


def suspend(job: TrainingJob, name: str, component: str, *, value: bool) -> dict[str, Any]:
    """A child Job as far as it is told to stand still, or to go on."""
    return {**pods.child("batch/v1", "Job", name, component, "TrainingJob", job.metadata), "spec": {"suspend": value}}


def training(job: TrainingJob, attempt: int, task: TrainingTask, image: str, settings: Settings) -> dict[str, Any]:
    """Job of one attempt: one pod, no second try of its own."""
    name = names.training_job(job.metadata.name, attempt)
    pod = _worker("trainer", image, "checkrein-trainer", task, job.spec.template, settings, names.credentials(name))
    main = pod["containers"][0]
    main["ports"] = [{"name": "progress", "containerPort": SERVING_PORT}]
    main["env"] += _tracker_credentials(job)
    main["readinessProbe"] = {"httpGet": {"path": "/livez", "port": "progress"}, "periodSeconds": 2}
    pod["terminationGracePeriodSeconds"] = GRACE_SECONDS
    spec = {"backoffLimit": 0, "podFailurePolicy": _TELL_DISRUPTIONS}
    return _queued(job, _job("TrainingJob", job.metadata, name, "trainer", pod, **spec))


def _tracker_credentials(job: TrainingJob) -> list[dict[str, Any]]:
    """Single keys, never a Secret as a whole: one that holds something else must not come into an environment's reach.

    One that is missing keeps no trainer from starting: a tracker never does.
    """
    named = job.spec.tracking.credentials if job.spec.tracking else {}
    return [
        {"name": key, "valueFrom": {"secretKeyRef": {"name": secret, "key": key, "optional": True}}}
        for key, secret in named.items()
    ]


def evaluation(job: TrainingJob, attempt: int, task: EvaluationTask, image: str, settings: Settings) -> dict[str, Any]:
    """Job that plays an attempt's artifact. Trying again is harmless: the seeds are the attempt's."""
    name = names.evaluation_job(job.metadata.name, attempt)
    pod = _worker("evaluator", image, "checkrein-evaluator", task, job.spec.template, settings, names.credentials(name))
    limits = {"backoffLimit": job.spec.backoff_limit, "podFailurePolicy": _FAIL_AT_ONCE}
    return _queued(job, _job("TrainingJob", job.metadata, name, "evaluator", pod, **limits))
