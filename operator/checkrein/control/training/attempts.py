"""Training by attempts: one Job each, a later one goes on from the checkpoints of those before."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

from checkrein.api import names
from checkrein.api.environment import EnvironmentIdentity
from checkrein.api.tasks import StoreLocation, TrainingReport, TrainingTask
from checkrein.api.training import TrainingJob, TrainingJobStatus
from checkrein.control.children import JobView, last_words, parse_report
from checkrein.control.conditions import Writer
from checkrein.control.fresh import ended, trouble
from checkrein.control.plan import Answers, Plan, Unavailable
from checkrein.control.requests import EnsureSession, PruneCheckpoints, ReadJob, ReadProgress
from checkrein.control.training import suspension
from checkrein.control.training.state import (
    Observed,
    failed,
    job_identity,
    owner,
    ready_environment,
)
from checkrein.control.workloads import jobs
from checkrein.store import keys

FIRST_RETRY = timedelta(seconds=5)
LAST_RETRY = timedelta(minutes=5)
LOOK_AGAIN = timedelta(seconds=15)
CLOCKS_APART = timedelta(minutes=1)  # an end that lies further ahead than this was told by another clock
TEMPLATE = "spec.template"
LONG_AGO = datetime.min.replace(tzinfo=UTC)  # nothing to wait for


def plan(job: TrainingJob, observed: Observed, answers: Answers, write: Writer) -> Plan:
    """Start the next attempt, follow the running one, or judge how it ended."""
    attempt = job.status.attempt
    if attempt == 0:
        return suspension.held(job, write) if job.spec.suspend else _start(job, 1, observed, answers, write)
    child = _child(job, observed, answers)
    if child is None and job.status.phase == "Suspended" and not job.spec.suspend:
        return _start(job, attempt, observed, answers, write)
    if still := suspension.plan(job, child, write):
        if not job.spec.suspend:
            task, _ = _task(job, attempt, observed)
            renew_session(job, names.training_job(job.metadata.name, attempt), "run", task.store, answers)
        return still
    if not job.spec.suspend:
        job = job.model_copy(update={"status": suspension.going_on(job.status, write, "Running")})
    child = child or _lost(job)
    report = parse_report(TrainingReport, child.pod.report) if child.pod else None
    if child.succeeded and report and report.manifest:
        status = _trained(job, report, write)
        _prune(job, status, observed, answers)
        return Plan(status=status, after=timedelta())
    if child.finished:
        return _ended(job, child, report, observed, answers, write)
    return _follow(job, child, observed, answers, write)


def _start(
    job: TrainingJob, attempt: int, observed: Observed, answers: Answers, write: Writer, *, disrupted: bool = False
) -> Plan:
    """Create the attempt's session and Job. Its name comes from the attempt: creating twice is creating once.

    `disrupted` is how the one before it ended: counted with the same write that begins this one, so once.
    """
    name = names.training_job(job.metadata.name, attempt)
    task, image = _task(job, attempt, observed)
    renew_session(job, name, "run", task.store, answers)
    environment, _, _ = ready_environment(observed)
    assert environment.status.digest
    status = write.put(
        suspension.going_on(job.status, write, "Running"),
        "Complete",
        False,
        "Training",
        f"attempt {attempt} is starting",
        attempt=attempt,
        disruptions=job.status.disruptions + disrupted,
        environment=EnvironmentIdentity(name=environment.metadata.name, digest=environment.status.digest),
    )
    child = jobs.training(job, attempt, task, image, observed.settings)
    return Plan(status=status, create=(child,), after=LOOK_AGAIN)


def renew_session(
    job: TrainingJob,
    name: str,
    role: str,
    location: StoreLocation,
    answers: Answers,
    policies: StoreLocation | None = None,
) -> None:
    """Make sure that the Job of this name has store credentials that last. Raises Unanswered, Unavailable."""
    answers.ask(
        EnsureSession(
            namespace=job.metadata.namespace,
            name=names.credentials(name),
            role=role,
            location=location,
            owner=owner("TrainingJob", job.metadata),
            policies=policies,
        )
    )


def _task(job: TrainingJob, attempt: int, observed: Observed) -> tuple[TrainingTask, str]:
    environment, interface, image = ready_environment(observed)
    meta, store = job.metadata, observed.settings.store
    location = store.location(
        store.runs_bucket,
        read_prefix=keys.run_prefix(observed.cluster, meta.namespace, meta.uid),
        write_prefix=keys.training_prefix(observed.cluster, meta.namespace, meta.uid, attempt),
    )
    task = TrainingTask(
        job=job_identity(job, observed),
        attempt=attempt,
        environment=environment.spec,
        interface=interface,
        spec=job.spec,
        store=location,
    )
    return task, image


def _trained(job: TrainingJob, report: TrainingReport, write: Writer) -> TrainingJobStatus:
    return write.put(
        job.status,
        "Complete",
        False,
        "Evaluating",
        "training is done; the exported artifact is being evaluated",
        phase="Evaluating",
        artifact=report.manifest,
        progress=report.progress or job.status.progress,
        checkpoint=report.checkpoint or job.status.checkpoint,
    )


def _child(job: TrainingJob, observed: Observed, answers: Answers) -> JobView | None:
    """The attempt's Job, if there is one. None in the cache: it is behind one's own write, or the Job was deleted."""
    namespace, name = job.metadata.namespace, names.training_job(job.metadata.name, job.status.attempt)
    if known := observed.jobs.get(name):
        return ended(known, namespace, answers)
    return answers.ask(ReadJob(namespace, name))


def _lost(job: TrainingJob) -> JobView:
    name = names.training_job(job.metadata.name, job.status.attempt)
    return JobView(name=name, failed=True, failure="the Job was deleted", finished_at=LONG_AGO)


def _ended(
    job: TrainingJob,
    child: JobView,
    report: TrainingReport | None,
    observed: Observed,
    answers: Answers,
    write: Writer,
) -> Plan:
    """The attempt ended without an artifact: give up, or try again after a pause that doubles.

    What the cluster took away is not the job's failure, and does not count towards spec.backoffLimit.
    """
    attempt = job.status.attempt
    evicted = child.pod is not None and child.pod.ended == "Evicted"
    if report and report.failure and not child.disrupted and not evicted:
        reason, message = report.failure.reason, report.failure.message
        if report.failure.permanent:
            return failed(job, observed, write, reason, message)
    else:
        reason, message = last_words(child, TEMPLATE)
    if not child.disrupted and attempt - job.status.disruptions > job.spec.backoff_limit:
        message = f"attempt {attempt} was the last (spec.backoffLimit {job.spec.backoff_limit}): {reason}: {message}"
        return failed(job, observed, write, "BackoffLimitExceeded", message)
    left = _pause(child, attempt, write.now)
    if left <= timedelta() and job.spec.suspend:
        return suspension.held(job, write)
    if left <= timedelta():
        return _start(job, attempt + 1, observed, answers, write, disrupted=child.disrupted)
    message = f"attempt {attempt} ended ({reason}: {message}); attempt {attempt + 1} goes on from its checkpoints"
    return Plan(status=write.put(job.status, "Complete", False, "Retrying", message), after=left)


def _pause(child: JobView, attempt: int, now: datetime) -> timedelta:
    """What is left of the pause after an attempt. By a clock that was set back it would not end for as long as that."""
    end = child.finished_at or now
    if end - now > CLOCKS_APART:
        return timedelta()
    pause: timedelta = min(FIRST_RETRY * 2 ** min(attempt - 1, 16), LAST_RETRY)
    return end + pause - now


def _follow(job: TrainingJob, child: JobView, observed: Observed, answers: Answers, write: Writer) -> Plan:
    """Read progress; keep the session fresh; say what keeps the pod from running."""
    task, _ = _task(job, job.status.attempt, observed)
    renew_session(job, child.name, "run", task.store, answers)
    status = job.status
    if problem := trouble(child, job.metadata.namespace, answers, write.now):
        return Plan(status=write.put(status, "Complete", False, *problem), after=LOOK_AGAIN)
    pod, attempt = child.pod, job.status.attempt
    word = ("Training", f"attempt {attempt} is {'training' if pod and pod.running else 'starting'}")
    with suppress(Unavailable):  # a busy trainer may miss a word; the pod's own state tells when it is gone
        if pod and pod.ready and pod.address:
            said = answers.ask(ReadProgress(pod.address))
            seen = {"progress": said.progress, "checkpoint": said.checkpoint or status.checkpoint}
            status = status.model_copy(update=seen)
            if said.failure:
                word = (said.failure.reason, f"attempt {attempt} goes on and tries again: {said.failure.message}")
    _prune(job, status, observed, answers)
    status = write.put(status, "Complete", False, *word)
    return Plan(status=status, after=timedelta(seconds=observed.settings.progress_seconds))


def _prune(job: TrainingJob, status: TrainingJobStatus, observed: Observed, answers: Answers) -> None:
    """Delete checkpoints beyond those to keep. One that must wait for the store keeps no job from going on."""
    if status.checkpoint:
        prefix = keys.run_prefix(observed.cluster, job.metadata.namespace, job.metadata.uid)
        with suppress(Unavailable):
            answers.ask(PruneCheckpoints(prefix, job.spec.checkpoint.keep, status.checkpoint.step))
