"""Plan for a TrainingJob: wait for the environment, train by attempts, evaluate, judge, publish.

Each stage leaves its result in status (`artifact`, `evaluation`, `policyVersion`), so the stage is known from it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from checkrein.api import conditions
from checkrein.api.algorithms import misfit
from checkrein.api.training import TrainingJob
from checkrein.control.conditions import Writer
from checkrein.control.plan import Answers, Plan, Reference, Unavailable
from checkrein.control.training import attempts, evaluation, publication
from checkrein.control.training.state import Observed, failed, is_finished
from checkrein.control.workloads.pods import excess

STORE_RETRY = timedelta(seconds=5)


def plan(job: TrainingJob, observed: Observed, answers: Answers, now: datetime) -> Plan:
    """What to do next. Asks for progress, store sessions, reservations, results and the publication's outcome."""
    write = Writer(job.metadata, now)
    if is_finished(job.status):
        return _clean_up(job, observed, write)
    if refusal := _refuse(job, observed):
        return failed(job, observed, write, *refusal)
    if wait := _wait(job, observed):
        return Plan(status=write.put(job.status, "Complete", False, *wait, phase="Pending"))
    if _overdue(job, now):
        message = f"spec.activeDeadlineSeconds: {job.spec.active_deadline_seconds} s have passed since the start"
        return failed(job, observed, write, "DeadlineExceeded", message)
    try:
        return _stage(job)(job, observed, answers, write)
    except Unavailable as no:
        if not no.temporary:
            return failed(job, observed, write, no.reason, no.message)
        return Plan(status=write.put(job.status, "Complete", False, no.reason, no.message), after=STORE_RETRY)


def _stage(job: TrainingJob) -> Callable[[TrainingJob, Observed, Answers, Writer], Plan]:
    if job.status.artifact is None:
        return attempts.plan
    if job.status.evaluation is None:
        return evaluation.plan
    return publication.plan


def _refuse(job: TrainingJob, observed: Observed) -> tuple[str, str] | None:
    """Why no pod could ever mend this: reason and sentence."""
    environment = observed.environment
    if environment is None or environment.status.spaces is None or environment.status.digest is None:
        return None
    pinned = job.status.environment
    if pinned and pinned.digest != environment.status.digest:
        return "EnvironmentChanged", (
            f"spec.environmentRef.name: RLEnvironment {pinned.name!r} has another digest than when this job started; "
            "create a new TrainingJob for it"
        )
    if too_much := excess(job.spec, environment.spec, environment.status.spaces):
        return "TaskTooLarge", (
            "spec.algorithm.hyperparameters and RLEnvironment spec.source.gymnasium.kwargs: "
            f"the two specs have {too_much}"
        )
    if sentence := misfit(job.spec.algorithm.name, environment.status.spaces):
        return "UnsuitableAlgorithm", sentence
    if job.spec.gates and environment.spec.reward.bounds is None:
        return "GateNotJudgeable", (
            "spec.gates: a bound on the mean return needs RLEnvironment spec.reward.bounds "
            "(no distribution-free bound of an unbounded mean exists); set min and max there"
        )
    return None


def _wait(job: TrainingJob, observed: Observed) -> tuple[str, str] | None:
    """What the environment still lacks: reason and sentence."""
    name = job.spec.environment_ref.name
    environment = observed.environment
    if environment is None:
        return "EnvironmentNotFound", (
            f"spec.environmentRef.name: no RLEnvironment {name!r} in this namespace; training starts when it appears"
        )
    if environment.status.digest is None:
        ready = conditions.get(environment.status.conditions, "Ready")
        said = f" ({ready.reason}: {ready.message})" if ready else ""
        return "EnvironmentNotReady", f"spec.environmentRef.name: RLEnvironment {name!r} is not Ready{said}"
    return None


def _overdue(job: TrainingJob, now: datetime) -> bool:
    limit, start = job.spec.active_deadline_seconds, job.status.start_time
    return limit is not None and start is not None and now - datetime.fromisoformat(start) > timedelta(seconds=limit)


def _clean_up(job: TrainingJob, observed: Observed, write: Writer) -> Plan:
    """Remove a finished job's pods when its time to live is over. The TrainingJob stays: GitOps would train again.

    Whatever is changed in the spec by then has been heeded: it changes nothing.
    """
    status = write.heeded(job.status) if job.status.observed_generation != job.metadata.generation else None
    ttl, end = job.spec.ttl_seconds_after_finished, job.status.completion_time
    if ttl is None or end is None or not observed.jobs:
        return Plan(status=status)
    left = datetime.fromisoformat(end) + timedelta(seconds=ttl) - write.now
    if left > timedelta():
        return Plan(status=status, after=left)
    return Plan(status=status, delete=tuple(Reference("Job", j.name, j.uid) for j in observed.jobs.values()))
