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
from checkrein.control.fresh import ended
from checkrein.control.plan import Answers, Plan, Unavailable
from checkrein.control.requests import EnsureSession, PruneCheckpoints, ReadJob, ReadProgress
from checkrein.control.training.state import (
    Observed,
    failed,
    job_identity,
    owner,
    ready_environment,
    timestamp,
)
from checkrein.control.workloads import jobs
from checkrein.store import keys

FIRST_RETRY = timedelta(seconds=5)
LAST_RETRY = timedelta(minutes=5)
LOOK_AGAIN = timedelta(seconds=15)
LONG_AGO = datetime.min.replace(tzinfo=UTC)  # nothing to wait for


def plan(job: TrainingJob, observed: Observed, answers: Answers, write: Writer) -> Plan:
    """Start the next attempt, follow the running one, or judge how it ended."""
    attempt = job.status.attempt
    if attempt == 0:
        return _start(job, 1, observed, answers, write)
    child = _child(job, observed, answers, write)
    report = parse_report(TrainingReport, child.pod.report) if child.pod else None
    if child.succeeded and report and report.manifest:
        status = _trained(job, report, write)
        _prune(job, status, observed, answers)
        return Plan(status=status, after=timedelta())
    if child.finished:
        return _ended(job, child, report, observed, answers, write)
    return _follow(job, child, observed, answers, write)


def _start(job: TrainingJob, attempt: int, observed: Observed, answers: Answers, write: Writer) -> Plan:
    """Create the attempt's session and Job. Its name comes from the attempt: creating twice is creating once."""
    name = names.training_job(job.metadata.name, attempt)
    task, image = _task(job, attempt, observed)
    renew_session(job, name, "run", task.store, answers)
    environment, _, _ = ready_environment(observed)
    assert environment.status.digest
    status = write.put(
        job.status,
        "Complete",
        False,
        "Training",
        f"attempt {attempt} is starting",
        phase="Running",
        attempt=attempt,
        start_time=job.status.start_time or timestamp(write),
        environment=EnvironmentIdentity(name=environment.metadata.name, digest=environment.status.digest),
    )
    child = jobs.training(job, attempt, task, image, observed.settings)
    return Plan(status=status, create=(child,), after=LOOK_AGAIN)


def renew_session(job: TrainingJob, name: str, role: str, location: StoreLocation, answers: Answers) -> None:
    """Make sure that the Job of this name has store credentials that last. Raises Unanswered, Unavailable."""
    answers.ask(
        EnsureSession(
            namespace=job.metadata.namespace,
            name=names.credentials(name),
            role=role,
            location=location,
            owner=owner("TrainingJob", job.metadata),
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


def _child(job: TrainingJob, observed: Observed, answers: Answers, write: Writer) -> JobView:
    """The attempt's Job. None in the cache: it is behind one's own write, or somebody deleted the Job."""
    namespace, name = job.metadata.namespace, names.training_job(job.metadata.name, job.status.attempt)
    if known := observed.jobs.get(name):
        return ended(known, namespace, answers)
    lost = JobView(name=name, failed=True, failure="the Job was deleted", finished_at=LONG_AGO)
    return answers.ask(ReadJob(namespace, name)) or lost


def _ended(
    job: TrainingJob,
    child: JobView,
    report: TrainingReport | None,
    observed: Observed,
    answers: Answers,
    write: Writer,
) -> Plan:
    """The attempt ended without an artifact: give up, or try again after a pause that doubles."""
    attempt = job.status.attempt
    if report and report.failure:
        reason, message = report.failure.reason, report.failure.message
        if report.failure.permanent:
            return failed(job, observed, write, reason, message)
    else:
        reason, message = last_words(child)
    if attempt > job.spec.backoff_limit:
        message = f"attempt {attempt} was the last (spec.backoffLimit {job.spec.backoff_limit}): {reason}: {message}"
        return failed(job, observed, write, "BackoffLimitExceeded", message)
    due = (child.finished_at or write.now) + min(FIRST_RETRY * 2 ** min(attempt - 1, 16), LAST_RETRY)
    if due <= write.now:
        return _start(job, attempt + 1, observed, answers, write)
    message = f"attempt {attempt} ended ({reason}: {message}); attempt {attempt + 1} goes on from its checkpoints"
    return Plan(status=write.put(job.status, "Complete", False, "Retrying", message), after=due - write.now)


def _follow(job: TrainingJob, child: JobView, observed: Observed, answers: Answers, write: Writer) -> Plan:
    """Read progress; keep the session fresh; say what keeps the pod from running."""
    task, _ = _task(job, job.status.attempt, observed)
    renew_session(job, child.name, "run", task.store, answers)
    status = job.status
    if problem := child.problem(write.now):
        return Plan(status=write.put(status, "Complete", False, *problem), after=LOOK_AGAIN)
    pod = child.pod
    with suppress(Unavailable):  # a busy trainer may miss a word; the pod's own state tells when it is gone
        if pod and pod.ready and pod.address:
            said = answers.ask(ReadProgress(pod.address))
            seen = {"progress": said.progress, "checkpoint": said.checkpoint or status.checkpoint}
            status = status.model_copy(update=seen)
    _prune(job, status, observed, answers)
    status = write.put(status, "Complete", False, "Training", f"attempt {job.status.attempt} is training")
    return Plan(status=status, after=timedelta(seconds=observed.settings.progress_seconds))


def _prune(job: TrainingJob, status: TrainingJobStatus, observed: Observed, answers: Answers) -> None:
    """Delete checkpoints beyond those to keep. One that must wait for the store keeps no job from going on."""
    if status.checkpoint:
        prefix = keys.run_prefix(observed.cluster, job.metadata.namespace, job.metadata.uid)
        with suppress(Unavailable):
            answers.ask(PruneCheckpoints(prefix, job.spec.checkpoint.keep, status.checkpoint.step))
