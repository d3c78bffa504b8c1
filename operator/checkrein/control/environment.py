"""Plan for an RLEnvironment: probe each generation once; what passed gets a digest and is never probed again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from checkrein.api import conditions, names
from checkrein.api.digests import canonical_json, sha256
from checkrein.api.environment import RLEnvironment, RLEnvironmentStatus
from checkrein.api.tasks import ProbeReport
from checkrein.control.children import JobView, last_words, parse_report
from checkrein.control.conditions import Writer
from checkrein.control.fresh import ended, trouble
from checkrein.control.plan import Answers, Plan, Reference, Unavailable
from checkrein.control.settings import Settings
from checkrein.control.workloads import jobs
from checkrein.control.workloads.pods import excess

LOOK_AGAIN = timedelta(seconds=15)


@dataclass(frozen=True)
class Observed:
    """What the planner sees beside the object itself."""

    jobs: Mapping[str, JobView]
    settings: Settings


def plan(environment: RLEnvironment, observed: Observed, answers: Answers, now: datetime) -> Plan:
    """What to do next. Asks for a finished Job where the cache is behind."""
    write = Writer(environment.metadata, now)
    name = names.probe_job(environment.metadata.name, environment.metadata.generation)
    stale = tuple(Reference("Job", j.name, j.uid) for j in observed.jobs.values() if j.name != name)
    if _is_settled(environment):
        return Plan(delete=stale)
    job = observed.jobs.get(name)
    if job is None and (too_much := excess(environment.spec)):
        message = f"spec.source.gymnasium.kwargs: the spec has {too_much}; put what is large into the image"
        status = write.put(environment.status, "Ready", False, "TaskTooLarge", message, phase="Failed")
        status = write.put(status, "Stalled", True, "TaskTooLarge", "probed again when the spec changes")
        return Plan(status=status, delete=stale)
    if job is None:
        status = _probing(environment.status, write, "Probing", "the probe pod is being created")
        probe = jobs.probe(environment, observed.settings)
        return Plan(status=status, create=(probe,), delete=stale, after=LOOK_AGAIN)
    try:
        job = ended(job, environment.metadata.namespace, answers)
    except Unavailable:
        return Plan(after=LOOK_AGAIN)
    kept = trouble(job, environment.metadata.namespace, answers, now)
    return Plan(status=_judge(environment, job, kept, write), delete=stale, after=None if job.finished else LOOK_AGAIN)


def _is_settled(environment: RLEnvironment) -> bool:
    """Probed for good: Ready has a digest; Failed stands until the spec changes."""
    if environment.status.digest:
        return True
    ended = conditions.get(environment.status.conditions, "Stalled")
    return ended is not None and ended.status == "True" and ended.observed_generation == environment.metadata.generation


def _judge(
    environment: RLEnvironment, job: JobView, kept: tuple[str, str] | None, write: Writer
) -> RLEnvironmentStatus:
    status = environment.status
    report = parse_report(ProbeReport, job.pod.report) if job.pod else None
    if job.succeeded and report and report.failure is None and report.interface:
        return _ready(environment, job, report, write)
    if job.finished:
        return _stalled(status, job, report, write)
    reason, message = kept or ("Probing", "the probe pod is checking the environment")
    return _probing(status, write, reason, message)


def _probing(status: RLEnvironmentStatus, write: Writer, reason: str, message: str) -> RLEnvironmentStatus:
    status = write.put(status, "Ready", False, reason, message, phase="Probing")
    return write.put(status, "Stalled", False, "Probing", "")


def _stalled(
    status: RLEnvironmentStatus, job: JobView, report: ProbeReport | None, write: Writer
) -> RLEnvironmentStatus:
    """The probe is over and the environment cannot be used until its spec changes."""
    if report and report.failure:
        reason, message = report.failure.reason, report.failure.message
    elif job.succeeded:
        reason, message = "ReportMissing", f"Job {job.name} succeeded without a report that can be read"
    else:
        reason, message = last_words(job)
    findings = report.findings if report else status.findings
    status = write.put(status, "Ready", False, reason, message, phase="Failed", findings=findings)
    return write.put(status, "Stalled", True, reason, "probed again when the spec changes")


def _ready(environment: RLEnvironment, job: JobView, report: ProbeReport, write: Writer) -> RLEnvironmentStatus:
    image = job.pod.image if job.pod else ""
    status = write.put(environment.status, "Stalled", False, "Probed", "")
    return write.put(
        status,
        "Ready",
        True,
        "Probed",
        _summary(report),
        phase="Ready",
        digest=identity(environment, image, report),
        # A pod can only be started from an image with a repository; a bare id names no place to pull from.
        image=image if "@" in image else environment.spec.image or None,
        spaces=report.interface,
        findings=report.findings,
    )


def _summary(report: ProbeReport) -> str:
    interface = report.interface
    assert interface is not None
    said = [f"observation {interface.observation.describe()}", f"action {interface.action.describe()}"]
    said += [f"{c.name}: {c.message}" for c in report.findings.checks if not c.passed]
    return "; ".join(said)


def identity(environment: RLEnvironment, image: str, report: ProbeReport) -> str:
    """SHA-256 over what the environment is: spec, image, packages, spaces. Measurements are not part of it."""
    spec = environment.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True)
    spaces = report.interface.dump() if report.interface else None
    body = {"spec": spec, "image": image.rpartition("@")[2], "packages": report.packages, "spaces": spaces}
    return sha256(canonical_json(body))
