"""Plans for TrainingJobs that stand still: on a person's word, or in a queue."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.control import builders as b
from tests.control.builders import NOW, Wanted
from tests.control.test_training import CRASHED, FIRST, SECOND, SESSION, TRAINED, ready

from checkrein.api.training import TrainingJob
from checkrein.control.children import JobView, PodView, job_view
from checkrein.control.plan import Plan
from checkrein.control.requests import ReadJob, ReserveEvaluation
from checkrein.control.training.planner import plan
from checkrein.control.training.state import Observed

LABELS = {"kueue.x-k8s.io/queue-name": "gpus", "kueue.x-k8s.io/priority-class": "low"}
EVALUATES = "a-evaluate-1"
HELD = b.condition("Complete", False, "Suspended") + b.condition("Suspended", True, "Suspended")
CHECKPOINT = {"step": 2000, "digest": b.digest("c")}


def held(**more: Any) -> dict[str, Any]:
    """Status of a job that a person's word keeps still."""
    return b.started(**{"phase": "Suspended", "startTime": None, "conditions": HELD, **more})


def queued(status: dict[str, Any] | None = None, **spec: Any) -> TrainingJob:
    made = b.job(status, **spec)
    return made.model_copy(update={"metadata": made.metadata.model_copy(update={"labels": LABELS})})


def child(name: str = FIRST, pod: PodView | None = None, *, suspended: bool, queue: str = "") -> JobView:
    component = "evaluator" if "evaluate" in name else "trainer"
    return JobView(name=name, created_at=b.ago(600), pod=pod, component=component, suspended=suspended, queue=queue)


STILL = ("Suspended", "False")
GOES_ON = {"startTime": NOW.isoformat()}
ON_A_WORD = [
    pytest.param(
        b.job(suspend=True),
        ready(),
        Wanted(STILL, "spec.suspend", "Suspended"),
        id="before the start -> nothing starts",
    ),
    pytest.param(
        b.job({"phase": "Suspended", "conditions": HELD}),
        ready(),
        Wanted(("Training", "False"), phase="Running", create=(f"Job/{FIRST}",), after=15, status=GOES_ON),
        id="no longer -> the first attempt",
    ),
    pytest.param(
        b.job(b.started(checkpoint=CHECKPOINT), suspend=True, activeDeadlineSeconds=61),
        ready(child(pod=b.running_pod(), suspended=False)),
        Wanted(
            STILL,
            "goes on from its newest checkpoint then (step 2000 or later)",
            "Suspended",
            apply=(f"Job/{FIRST}",),
            status={"attempt": 1, "startTime": None},
        ),
        id="while it trains -> the Job is suspended, no time counts",
    ),
    pytest.param(
        b.job(held(), suspend=True, activeDeadlineSeconds=1),
        ready(child(suspended=True)),
        Wanted(STILL, phase="Suspended", status={"attempt": 1}),
        id="still -> nothing",
    ),
    pytest.param(
        b.job(held()),
        ready(child(pod=b.running_pod(deleting=True), suspended=True)),
        Wanted(STILL, "pod-x is still ending", "Suspended", after=15),
        id="no longer, and the pod has not ended -> two trainers never run at once",
    ),
    pytest.param(
        b.job(held()),
        ready(child(suspended=True)),
        Wanted(apply=(f"Job/{FIRST}",), after=15),
        id="no longer -> the same attempt's Job goes on",
    ),
    pytest.param(
        b.job(held(), activeDeadlineSeconds=1),
        ready(child(suspended=False)),
        Wanted(("PodNotCreated", "False"), phase="Running", after=15, status={"attempt": 1, **GOES_ON}),
        id="it goes on -> time counts anew",
    ),
    pytest.param(
        b.job(b.started(), suspend=True),
        ready(b.failed_job(FIRST, CRASHED, at=b.ago(60))),
        Wanted(STILL, phase="Suspended", status={"attempt": 1}),
        id="between two attempts -> the next one waits",
    ),
    pytest.param(
        b.job(held()),
        ready(b.failed_job(FIRST, CRASHED, at=b.ago(60))),
        Wanted(("Training", "False"), phase="Running", create=(f"Job/{SECOND}",), after=15, status={"attempt": 2}),
        id="no longer -> the next attempt",
    ),
    pytest.param(
        b.job(b.started(), suspend=True),
        ready(b.done_job(FIRST, TRAINED)),
        Wanted(("Evaluating", "False"), phase="Evaluating", after=0),
        id="training was done before -> its artifact is kept",
    ),
    pytest.param(
        b.job(b.trained(), suspend=True),
        ready(),
        Wanted(STILL, phase="Suspended"),
        id="before the evaluation -> it waits, and is not counted",
    ),
    pytest.param(
        b.job(b.trained(), suspend=True),
        ready(child(EVALUATES, b.running_pod(), suspended=False)),
        Wanted(STILL, phase="Suspended", apply=(f"Job/{EVALUATES}",)),
        id="while it is evaluated -> the Job is suspended",
    ),
]
QUEUED = ("Queued", "False")
IN_A_QUEUE = [
    pytest.param(
        queued(),
        ready(),
        Wanted(("Training", "False"), create=(f"Job/{FIRST}",), after=15),
        id="environment is Ready -> a Job for the queue",
    ),
    pytest.param(
        queued(b.started(), activeDeadlineSeconds=1_000),
        ready(child(suspended=True, queue="gpus")),
        Wanted(QUEUED, "waits for admission by queue 'gpus'", "Pending", after=300, status={"startTime": None}),
        id="not admitted -> said, no time counts, and the Job is left to the queue",
    ),
    pytest.param(
        queued(b.started(startTime=None, conditions=b.condition("Suspended", True, "Queued"))),
        ready(child(pod=b.running_pod(ready=False), suspended=False, queue="gpus")),
        Wanted(("Training", "False"), phase="Running", after=2, status={"attempt": 1, **GOES_ON}),
        id="admitted -> trains, and time counts",
    ),
    pytest.param(
        queued(b.started(checkpoint=CHECKPOINT)),
        ready(child(pod=b.running_pod(deleting=True), suspended=True, queue="gpus")),
        Wanted(QUEUED, phase="Pending", after=300, status={"attempt": 1, "checkpoint": CHECKPOINT}),
        id="evicted -> no failure, no attempt more",
    ),
    pytest.param(
        queued(b.started(), suspend=True),
        ready(child(pod=b.running_pod(), suspended=False, queue="gpus")),
        Wanted(STILL, phase="Suspended", delete=(f"Job/{FIRST}",)),
        id="a person's word -> the Job leaves the queue, which would start it again",
    ),
    pytest.param(
        queued(b.trained()),
        ready(child(EVALUATES, suspended=True, queue="gpus")),
        Wanted(QUEUED, phase="Pending", after=300),
        id="its evaluation is not admitted -> said",
    ),
]


def planned(job: TrainingJob, observed: Observed, **more: Any) -> Plan:
    return plan(job, observed, b.answers({**SESSION, ReserveEvaluation: 0, **more}), NOW)


@pytest.mark.parametrize(("job", "observed", "wanted"), [*ON_A_WORD, *IN_A_QUEUE])
def test_plan(job: TrainingJob, observed: Observed, wanted: Wanted) -> None:
    b.check(planned(job, observed), replace(wanted, apply=wanted.apply or ()), "Complete")


@pytest.mark.parametrize(
    ("status", "suspend", "wanted"),
    [
        pytest.param(b.started(), True, Wanted(STILL, phase="Suspended"), id="deleted, its status not yet written"),
        pytest.param(
            held(),
            False,
            Wanted(("Training", "False"), create=(f"Job/{FIRST}",), after=15, status={"attempt": 1}),
            id="no longer suspended -> the same attempt, to its queue",
        ),
    ],
)
def test_a_job_taken_out_of_its_queue_is_no_lost_one(status: Any, suspend: bool, wanted: Wanted) -> None:
    said = b.answers({**SESSION, ReadJob("games", FIRST): None})
    b.check(plan(queued(status, suspend=suspend), ready(), said, NOW), wanted, "Complete")


@pytest.mark.parametrize(("job", "observed"), [(p.values[0], p.values[1]) for p in (*ON_A_WORD, *IN_A_QUEUE)])
def test_what_stands_still_is_not_written_again(job: TrainingJob, observed: Observed) -> None:
    first = planned(job, observed)
    if first.status is None or first.status.phase != "Suspended":  # type: ignore[attr-defined]
        return
    later = NOW.replace(minute=NOW.minute + 5)
    again = plan(job.model_copy(update={"status": first.status}), observed, b.answers(SESSION), later)
    assert again.status == first.status


def test_a_queue_gets_suspended_jobs_with_its_labels_on_the_job_alone() -> None:
    [made] = planned(queued(), ready()).create
    assert {name: made["metadata"]["labels"][name] for name in LABELS} == LABELS
    assert made["spec"]["suspend"] is True
    assert not LABELS.keys() & made["spec"]["template"]["metadata"]["labels"].keys(), "pods are not queued one by one"
    [plain] = planned(b.job(), ready()).create
    assert "suspend" not in plain["spec"]


def test_only_suspend_is_changed_of_a_job() -> None:
    [change] = planned(b.job(b.started(), suspend=True), ready(child(suspended=False))).apply
    assert change["spec"] == {"suspend": True}
    assert change["metadata"]["ownerReferences"][0]["uid"] == "a-uid"


def test_a_job_that_was_just_admitted_is_given_time_for_its_pod() -> None:
    meta = {"name": FIRST, "creationTimestamp": b.ago(900).isoformat(), "labels": LABELS}
    suspended = {"conditions": [{"type": "Suspended", "status": "True"}]}
    view = job_view({"metadata": meta, "spec": {"suspend": False}, "status": suspended}, [])
    assert (view.suspended, view.queue, view.problem(NOW)) == (False, "gpus", None)
    view = job_view({"metadata": meta, "spec": {}, "status": {"startTime": b.ago(5).isoformat()}}, [])
    assert view.problem(NOW) is None
