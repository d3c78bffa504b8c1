"""Standing still: on a person's word (`spec.suspend`), or in a queue that has not admitted a Job.

As with batch/v1's own `suspend`, a Job that stands still has no pods, nothing of that is a failure, and time limits
start anew when it goes on. A queue (Kueue, https://kueue.sigs.k8s.io/docs/tasks/run/jobs/) starts and stops its Jobs by
the same field, so a Job that a queue holds is never started from here; a person's word takes it out of the queue.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from checkrein.api import conditions, names
from checkrein.api.training import TrainingJob, TrainingJobStatus
from checkrein.control.children import JobView
from checkrein.control.conditions import Writer
from checkrein.control.plan import Plan, Reference
from checkrein.control.training.state import timestamp
from checkrein.control.workloads import jobs

LOOK_AGAIN = timedelta(seconds=15)
RENEW = timedelta(minutes=5)
"""Between looks at a Job in a queue, whose store session must be fresh whenever it is admitted."""

CONDITION = "Suspended"
Phase = Literal["Running", "Evaluating"]


def plan(job: TrainingJob, child: JobView | None, write: Writer) -> Plan | None:
    """What keeps the stage's Job standing still, or starts it again; None where the stage goes on as usual."""
    if child is not None and child.finished:
        return None
    if job.spec.suspend:
        return _hold(job, child, write)
    if child is None or not child.suspended:
        return None
    if child.queue:
        message = f"Job {child.name} waits for admission by queue {child.queue!r} (label {names.QUEUE})"
        return Plan(status=_still(job.status, write, "Queued", message, "Pending"), after=RENEW)
    if child.pod and not child.pod.over:
        message = f"pod {child.pod.name} is still ending; Job {child.name} goes on then"
        return Plan(status=_still(job.status, write, "Suspended", message, "Suspended"), after=LOOK_AGAIN)
    return Plan(apply=(jobs.suspend(job, child.name, child.component, value=False),), after=LOOK_AGAIN)


def held(job: TrainingJob, write: Writer) -> Plan:
    """Nothing runs, and nothing is to."""
    return Plan(status=_still(job.status, write, "Suspended", _words(job), "Suspended"))


def going_on(status: TrainingJobStatus, write: Writer, phase: Phase) -> TrainingJobStatus:
    """The status of a job whose stage goes on: time counts, from now on if it did not before."""
    if conditions.is_true(status.conditions, CONDITION):
        status = write.put(status, CONDITION, False, "Resumed", "")
    start = status.start_time or timestamp(write)
    return status.model_copy(update={"phase": phase, "start_time": start})


def _hold(job: TrainingJob, child: JobView | None, write: Writer) -> Plan:
    """On a person's word. A queue would start its Job again, so that one is deleted, and made again later."""
    plan = held(job, write)
    if child is None:
        return plan
    if child.queue:
        return Plan(status=plan.status, delete=(Reference("Job", child.name, child.uid),))
    if child.suspended:
        return plan
    return Plan(status=plan.status, apply=(jobs.suspend(job, child.name, child.component, value=True),))


def _words(job: TrainingJob) -> str:
    said = "spec.suspend is true: nothing runs until it is false"
    if checkpoint := job.status.checkpoint:
        said += f"; training goes on from its newest checkpoint then (step {checkpoint.step} or later)"
    return said


def _still(
    status: TrainingJobStatus, write: Writer, reason: str, message: str, phase: Literal["Pending", "Suspended"]
) -> TrainingJobStatus:
    status = write.put(status, CONDITION, True, reason, message)
    return write.put(status, "Complete", False, reason, message, phase=phase, start_time=None)
