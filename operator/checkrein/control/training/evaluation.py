"""Evaluation of the exported artifact in a pod of its own, and the gates' verdict on it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from checkrein.api import names
from checkrein.api.environment import RewardBounds
from checkrein.api.tasks import EvaluationReport, EvaluationResults, EvaluationTask, ParentPolicy
from checkrein.api.training import EvaluationStatus, TrainingJob
from checkrein.control.children import last_words, parse_report
from checkrein.control.conditions import Writer
from checkrein.control.fresh import ended, trouble
from checkrein.control.plan import Answers, Plan
from checkrein.control.requests import ReadResults, ReserveEvaluation
from checkrein.control.training import suspension
from checkrein.control.training.attempts import LOOK_AGAIN, TEMPLATE, renew_session
from checkrein.control.training.state import Observed, failed, job_identity, ready_environment
from checkrein.control.workloads import jobs
from checkrein.judge.gates import Verdict, judge_gate
from checkrein.store import keys

RETURN_LIMIT = 1e14  # what a decimal string of the API holds, with room for rounding


def plan(job: TrainingJob, observed: Observed, answers: Answers, write: Writer) -> Plan:
    """Create the evaluation's Job, wait for it, judge what it stored."""
    name = names.evaluation_job(job.metadata.name, job.status.attempt)
    task, image = _task(job, observed)
    child = observed.jobs.get(name)
    if still := suspension.plan(job, child, write):
        if not job.spec.suspend:
            renew_session(job, name, "run", task.store, answers, task.policies)
        return still
    if not job.spec.suspend:
        job = job.model_copy(update={"status": suspension.going_on(job.status, write, "Evaluating")})
    # Counted before it starts: an evaluation whose result is thrown away has been looked at all the same.
    before = answers.ask(_reservation(job, observed))
    if child is None:
        renew_session(job, name, "run", task.store, answers, task.policies)
        status = write.put(job.status, "Complete", False, "Evaluating", f"Job {name} is starting", phase="Evaluating")
        job_object = jobs.evaluation(job, job.status.attempt, task, image, observed.settings)
        return Plan(status=status, create=(job_object,), after=LOOK_AGAIN)
    child = ended(child, job.metadata.namespace, answers)
    report = parse_report(EvaluationReport, child.pod.report) if child.pod else None
    if child.succeeded and report and report.results:
        recorded = job.model_copy(update={"status": job.status.model_copy(update={"recording": report.recording})})
        return _judge(recorded, answers.ask(ReadResults(report.results)), before, observed, write)
    if child.finished:
        reason, message = (
            (report.failure.reason, report.failure.message)
            if report and report.failure
            else last_words(child, TEMPLATE)
        )
        return failed(job, observed, write, reason, message)
    renew_session(job, name, "run", task.store, answers, task.policies)
    playing = ("Evaluating", f"{job.spec.evaluation.episodes} episodes are played")
    reason, message = trouble(child, job.metadata.namespace, answers, write.now) or playing
    return Plan(status=write.put(job.status, "Complete", False, reason, message), after=LOOK_AGAIN)


def _reservation(job: TrainingJob, observed: Observed) -> ReserveEvaluation:
    environment, _, _ = ready_environment(observed)
    return ReserveEvaluation(
        namespace=job.metadata.namespace,
        policy=job.spec.publish.policy,
        environment_digest=environment.status.digest or "",
        owner=f"{job.metadata.uid}/{job.status.attempt}",
    )


def _task(job: TrainingJob, observed: Observed) -> tuple[EvaluationTask, str]:
    environment, interface, image = ready_environment(observed)
    meta, store, attempt = job.metadata, observed.settings.store, job.status.attempt
    assert job.status.artifact
    location = store.location(
        store.runs_bucket,
        read_prefix=keys.run_prefix(observed.cluster, meta.namespace, meta.uid),
        write_prefix=keys.evaluation_prefix(observed.cluster, meta.namespace, meta.uid, attempt),
    )
    task = EvaluationTask(
        job=job_identity(job, observed),
        attempt=attempt,
        environment=environment.spec,
        interface=interface,
        episodes=job.spec.evaluation.episodes,
        manifest=job.status.artifact,
        store=location,
        policies=store.location(store.policies_bucket, read_prefix=keys.CONTENT),
        parent=_parent(observed),
    )
    return task, image


def _parent(observed: Observed) -> ParentPolicy | None:
    version = observed.parent
    return ParentPolicy(name=version.metadata.name, artifact=version.spec.artifact) if version else None


def _judge(job: TrainingJob, results: EvaluationResults, before: int, observed: Observed, write: Writer) -> Plan:
    """Every gate must pass; the evaluation is kept in status either way."""
    if results.manifest != job.status.artifact.digest or len(results.returns) < job.spec.evaluation.episodes:  # type: ignore[union-attr]
        message = "the evaluation's results are of another artifact, or of fewer episodes than spec.evaluation.episodes"
        return failed(job, observed, write, "EvaluationMismatch", message)
    if not all(abs(value) < RETURN_LIMIT for value in results.returns):  # NaN is not below it either
        message = f"a return of the evaluation is not a number of magnitude below {RETURN_LIMIT:g}"
        return failed(job, observed, write, "ReturnOutOfRange", message)
    environment, _, _ = ready_environment(observed)
    verdicts = _verdicts(job, results, environment.spec.reward.bounds, before)
    evaluated = job.model_copy(
        update={"status": job.status.model_copy(update={"evaluation": _summary(results, verdicts, before)})}
    )
    if missed := [v for v in verdicts if not v.passed]:
        said = [v.explanation for v in missed]
        if results.ended:
            said.append(
                f"{len(results.ended)} of the episodes were ended by spec.safety.shield and count as the least return"
            )
        return failed(evaluated, observed, write, "GateNotMet", "; ".join(said))
    status = write.put(evaluated.status, "Complete", False, "Publishing", "all gates passed", phase="Publishing")
    return Plan(status=status, after=timedelta())


def _verdicts(job: TrainingJob, results: EvaluationResults, bounds: RewardBounds | None, before: int) -> list[Verdict]:
    if bounds is None:
        return []
    low, high, ended = float(bounds.min), float(bounds.max), set(results.ended)
    # Nobody knows what an episode would have been paid that the shield ended: ending early must never pay.
    returns = [low if episode in ended else value for episode, value in enumerate(results.returns)]
    clipped = [min(max(value, low), high) for value in returns]
    return [judge_gate(clipped, (low, high), float(g.at_least), float(g.confidence), before) for g in job.spec.gates]


def _summary(results: EvaluationResults, verdicts: list[Verdict], before: int) -> EvaluationStatus:
    """What people see; of several gates the strictest one's bound."""
    strictest = max(verdicts, key=lambda v: v.confidence, default=None)
    return EvaluationStatus(
        episodes=len(results.returns),
        mean=_decimal(sum(results.returns) / len(results.returns)),
        shielded=sum(results.shielded) or None,
        ended_by_shield=len(results.ended) or None,
        lower_bound=_decimal(strictest.lower_bound) if strictest else None,
        evaluated_before=before,
        confidence=_decimal(strictest.confidence, places=4) if strictest else None,
    )


def _decimal(value: float, places: int = 2) -> Decimal:
    return Decimal(f"{value:.{places}f}")
