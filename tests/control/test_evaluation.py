"""Plans for TrainingJobs that have an artifact: evaluation, gates, publication."""

from __future__ import annotations

import math
from typing import Any

import pytest
from tests.control import builders as b
from tests.control.builders import NOW, Wanted

from checkrein.api.meta import FileReference
from checkrein.api.policy import PolicyVersionSpec
from checkrein.api.tasks import TASK_VARIABLE, EvaluationReport, EvaluationTask, Failure, ParentPolicy
from checkrein.api.training import TrainingJob
from checkrein.control.children import JobView
from checkrein.control.plan import Answers, Plan, Unanswered, Unavailable
from checkrein.control.requests import (
    EnsureSession,
    PublishArtifact,
    PublishRecording,
    ReadJob,
    ReadResults,
    ReadVersion,
    ReserveEvaluation,
    ReserveVersion,
    VerifyArtifact,
)
from checkrein.control.training.planner import plan
from checkrein.control.training.state import Observed

EVALUATE = "a-evaluate-1"
GATE = {"atLeast": "475"}
RESULTS = FileReference(key="runs/c/games/a-uid/1/evaluate/results.json", digest=b.digest("d"), size=9)
REPORT = EvaluationReport(results=RESULTS)
BROKEN = EvaluationReport(failure=Failure(reason="EnvironmentFault", message="reward is NaN", permanent=True))
DONE = b.done_job(EVALUATE, REPORT)


def decide(job: TrainingJob, *jobs: JobView, said: dict[Any, Any] | None = None) -> Plan:
    usual = {EnsureSession: "s", ReserveEvaluation: 0, ReadResults: b.results([498] * 300), ReadVersion: None}
    known = {**usual, **(said or {})}
    observed = Observed(b.ready_environment(), {j.name: j for j in jobs}, b.SETTINGS, b.CLUSTER)
    return plan(job, observed, b.answers(known), NOW)


TRAINED = b.job(b.trained(), gates=[GATE], evaluation={"episodes": 300})


@pytest.mark.parametrize(
    ("jobs", "wanted"),
    [
        pytest.param(
            [],
            Wanted(("Evaluating", "False"), f"Job {EVALUATE} is starting", create=(f"Job/{EVALUATE}",), after=15),
            id="artifact -> a Job that evaluates it",
        ),
        pytest.param(
            [b.running_job(EVALUATE, b.running_pod())],
            Wanted(("Evaluating", "False"), "300 episodes are played", after=15),
            id="evaluator runs -> wait",
        ),
        pytest.param(
            [b.running_job(EVALUATE, b.pod(problem=("Unschedulable", "0/3 nodes are available")))],
            Wanted(("Unschedulable", "False"), "0/3 nodes", after=15),
            id="no node for it -> said",
        ),
        pytest.param(
            [b.failed_job(EVALUATE, BROKEN, exit_code=2)],
            Wanted(("EnvironmentFault", "False"), "reward is NaN", "Failed"),
            id="evaluator gave up -> Failed with its words",
        ),
        pytest.param(
            [b.failed_job(EVALUATE, exit_code=137, ended="OOMKilled")],
            Wanted(("OOMKilled", "False"), "exit code 137", "Failed"),
            id="evaluator was killed until the Job gave up -> Failed",
        ),
        pytest.param(
            [b.done_job(EVALUATE)],
            Wanted(("Completed", "False"), phase="Failed"),
            id="exit 0 without a report -> Failed, never passed",
        ),
    ],
)
def test_plan(jobs: list[JobView], wanted: Wanted) -> None:
    b.check(decide(TRAINED, *jobs), wanted, "Complete")


def summary(
    mean: str, bound: str | None, before: int = 0, confidence: str | None = "0.9696", **shield: int
) -> dict[str, Any]:
    said = {
        "episodes": 300,
        "mean": mean,
        "lowerBound": bound,
        "evaluatedBefore": before,
        "confidence": confidence,
        **shield,
    }
    return {"evaluation": {key: value for key, value in said.items() if value is not None}}


PASSED = Wanted(("Publishing", "False"), "all gates passed", "Publishing", after=0)


@pytest.mark.parametrize(
    ("gates", "said", "wanted"),
    [
        pytest.param([GATE], {}, PASSED, id="the bound reaches the gate -> publish"),
        pytest.param(
            [],
            {ReadResults: b.results([1.5] * 300)},
            Wanted(("Publishing", "False"), after=0, status=summary("1.50", None, confidence=None)),
            id="no gate -> publish whatever it shows",
        ),
        pytest.param(
            [{"atLeast": "400"}, {"atLeast": "400", "confidence": "0.999"}],
            {},
            PASSED,
            id="both gates are reached -> publish",
        ),
        pytest.param(
            [GATE],
            {ReadResults: b.results([300] * 300)},
            Wanted(("GateNotMet", "False"), "mean return 300.0 over 300 episodes", "Failed"),
            id="the bound misses the gate -> Failed",
        ),
        pytest.param(
            [GATE],
            {ReadResults: b.results([498] * 300, ended=range(30))},
            Wanted(
                ("GateNotMet", "False"),
                "30 of the episodes were ended by spec.safety.shield and count as the least return",
                "Failed",
                status=summary("498.00", "416.02", shielded=30, endedByShield=30),
            ),
            id="the shield ended one in ten -> they count as the least return, Failed",
        ),
        pytest.param(
            [GATE, {"atLeast": "499.9"}],
            {},
            Wanted(("GateNotMet", "False"), "is below the 499.9 asked for", "Failed"),
            id="one of two gates is missed -> Failed",
        ),
        pytest.param(
            [{"atLeast": "490"}],
            {ReserveEvaluation: 1000},
            Wanted(("GateNotMet", "False"), "after 1000 earlier evaluations", "Failed"),
            id="what would pass at the first evaluation does not at the thousand-and-first",
        ),
        pytest.param(
            [GATE],
            {ReadResults: b.results([498] * 299)},
            Wanted(("EvaluationMismatch", "False"), "spec.evaluation.episodes", "Failed"),
            id="an episode is missing -> Failed",
        ),
        pytest.param(
            [GATE],
            {ReadResults: b.results([498] * 300, manifest=b.digest("0"))},
            Wanted(("EvaluationMismatch", "False"), "another artifact", "Failed"),
            id="results of another artifact -> Failed",
        ),
        *(
            pytest.param(
                gates,
                {ReadResults: b.results([498] * 299 + [value])},
                Wanted(("ReturnOutOfRange", "False"), "1e+14", "Failed"),
                id=f"a return of {value} with {len(gates)} gates -> Failed",
            )
            for value in (math.nan, math.inf, -1e300)
            for gates in ([], [GATE])
        ),
        pytest.param(
            [GATE],
            {ReadResults: Unavailable("DigestMismatch", "results.json has digest sha256:0", temporary=False)},
            Wanted(("DigestMismatch", "False"), "results.json", "Failed"),
            id="somebody changed the results -> Failed",
        ),
        pytest.param(
            [GATE],
            {ReadResults: Unavailable("StoreUnavailable", "store:9000 does not answer")},
            Wanted(("StoreUnavailable", "False"), "store:9000", "Evaluating", after=5),
            id="store does not answer -> asked again",
        ),
    ],
)
def test_judgement(gates: list[dict[str, str]], said: dict[Any, Any], wanted: Wanted) -> None:
    job = b.job(b.trained(), gates=gates, evaluation={"episodes": 300})
    b.check(decide(job, DONE, said=said), wanted, "Complete")


def test_the_evaluation_is_kept_whatever_comes_of_it() -> None:
    strict = b.job(b.trained(), gates=[{"atLeast": "499.9"}], evaluation={"episodes": 300})
    passed, missed = (plan.status.dump()["evaluation"] for plan in map(_judged, (TRAINED, strict)) if plan.status)
    assert passed == missed
    assert (passed["mean"], passed["episodes"], passed["evaluatedBefore"]) == ("498.00", 300, 0)
    assert 475 < float(passed["lowerBound"]) < 498


def _judged(job: TrainingJob) -> Plan:
    return decide(job, DONE)


def test_returns_outside_the_bounds_count_as_the_bounds() -> None:
    beyond = decide(TRAINED, DONE, said={ReadResults: b.results([10_000] * 300)}).status
    within = decide(TRAINED, DONE, said={ReadResults: b.results([500] * 300)}).status
    assert beyond
    assert within
    assert beyond.dump()["evaluation"]["lowerBound"] == within.dump()["evaluation"]["lowerBound"]
    assert beyond.dump()["evaluation"]["mean"] == "10000.00"


def test_an_evaluation_is_counted_before_it_starts() -> None:
    observed = Observed(b.ready_environment(), {}, b.SETTINGS, b.CLUSTER)
    with pytest.raises(Unanswered) as asked:
        plan(TRAINED, observed, Answers(), NOW)
    assert asked.value.requests == (ReserveEvaluation("games", "cartpole", b.digest("e"), "a-uid/1"),)


def test_a_cache_that_is_behind_condemns_nothing() -> None:
    behind = JobView(name=EVALUATE, succeeded=True, pod=b.running_pod())
    b.check(decide(TRAINED, behind, said={ReadJob("games", EVALUATE): DONE}), PASSED, "Complete")


def test_the_evaluator_gets_the_artifact_and_a_place_of_its_own() -> None:
    [job] = decide(TRAINED).create
    [container] = job["spec"]["template"]["spec"]["containers"]
    task = EvaluationTask.model_validate_json(
        next(e["value"] for e in container["env"] if e["name"] == "CHECKREIN_TASK")
    )
    assert (task.manifest, task.episodes, task.interface) == (b.MANIFEST, 300, b.CARTPOLE)
    assert task.store.write_prefix == "runs/cluster-uid/games/a-uid/1/evaluate/"
    assert task.parent is None


def test_the_evaluator_may_ask_the_version_before() -> None:
    observed = Observed(b.ready_environment(), {}, b.SETTINGS, b.CLUSTER, parent=b.version("cartpole-3"))
    answers: Any = b.answers({EnsureSession: "s", ReserveEvaluation: 0})
    [job] = plan(TRAINED, observed, answers, NOW).create
    [task] = [v["value"] for v in job["spec"]["template"]["spec"]["containers"][0]["env"] if v["name"] == TASK_VARIABLE]
    told = EvaluationTask.model_validate_json(task)
    assert told.parent == ParentPolicy(name="cartpole-3", artifact=b.version("cartpole-3").spec.artifact)
    [session] = [r for r in answers.known.asked if isinstance(r, EnsureSession)]
    assert session.policies == told.policies
    assert told.policies
    assert (told.policies.bucket, told.policies.read_prefix) == ("checkrein-policies", "sha256/")
    assert told.policies.write_prefix == ""


EVALUATED = b.job(b.evaluated(), seed=3)
PUBLISHED = {PublishArtifact(b.MANIFEST): b.ARTIFACT, ReserveVersion("games", "cartpole", "a-uid"): 4}
TAKEN = {ReadVersion("games", "cartpole-4"): b.version("cartpole-4", uid="another-uid")}


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        pytest.param(
            PUBLISHED,
            Wanted(
                ("Published", "True"),
                "published as PolicyVersion cartpole-4",
                "Succeeded",
                ("PolicyVersion/cartpole-4",),
                status={"policyVersion": "cartpole-4", "completionTime": NOW.isoformat()},
            ),
            id="copied and numbered -> PolicyVersion",
        ),
        pytest.param(
            {PublishArtifact: Unavailable("StoreUnavailable", "store:9000 does not answer")},
            Wanted(("StoreUnavailable", "False"), phase="Publishing", after=5),
            id="store does not answer -> asked again",
        ),
        pytest.param(
            {**PUBLISHED, PublishArtifact(b.MANIFEST): Unavailable("DigestMismatch", "policy.onnx", temporary=False)},
            Wanted(("DigestMismatch", "False"), "policy.onnx", "Failed"),
            id="somebody changed the artifact -> Failed, nothing is published",
        ),
        pytest.param(
            {**PUBLISHED, **TAKEN, VerifyArtifact: Unavailable("NotFound", "there is no such key", temporary=False)},
            Wanted(
                ("StoreLostData", "False"),
                "PolicyVersion cartpole-4 exists, but the store knows neither its artifact nor",
                "Publishing",
                after=10,
            ),
            id="name taken, its artifact unknown to the store -> the store lost its data, nothing is published",
        ),
        pytest.param(
            {**PUBLISHED, **TAKEN, VerifyArtifact: Unavailable("StoreRefused", "no such version id", temporary=False)},
            Wanted(("StoreLostData", "False"), phase="Publishing", after=10),
            id="name taken, another kind of store than its artifact was in -> the same",
        ),
        pytest.param(
            {**PUBLISHED, **TAKEN, VerifyArtifact: b.CARTPOLE},
            Wanted(("Published", "True"), phase="Succeeded", create=("PolicyVersion/cartpole-4",)),
            id="name taken, its artifact in the store -> creating it says whose it is",
        ),
        pytest.param(
            {**PUBLISHED, **TAKEN, VerifyArtifact: Unavailable("StoreUnavailable", "store:9000 does not answer")},
            Wanted(("StoreUnavailable", "False"), phase="Publishing", after=5),
            id="name taken, the store does not answer -> asked again",
        ),
    ],
)
def test_publication(said: dict[Any, Any], wanted: Wanted) -> None:
    b.check(decide(EVALUATED, said=said), wanted, "Complete")


RECORDED = FileReference(key="runs/c/games/a-uid/1/evaluate/recording.json.gz", digest=b.digest("c"), size=90)


def test_what_an_evaluator_recorded_waits_in_status() -> None:
    done = b.done_job(EVALUATE, EvaluationReport(results=RESULTS, recording=RECORDED))
    status: Any = decide(TRAINED, done).status
    assert status.recording == RECORDED
    missed: Any = decide(b.job(b.trained(), gates=[{"atLeast": "499.9"}], evaluation={"episodes": 300}), done).status
    assert missed.recording == RECORDED, "of a policy that failed, too: there is most to be looked at"


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        pytest.param(b.RECORDING, b.RECORDING, id="copied -> the PolicyVersion pins it"),
        pytest.param(
            Unavailable("DigestMismatch", "recording.json.gz", temporary=False), None, id="changed -> published without"
        ),
    ],
)
def test_a_recording_is_published_beside_the_policy(said: Any, kept: Any) -> None:
    job = b.job(b.evaluated(recording=RECORDED.dump()))
    [obj] = decide(job, said={**PUBLISHED, PublishRecording(RECORDED): said}).create
    spec = PolicyVersionSpec.model_validate(obj["spec"])
    assert (spec.artifact, spec.recording) == (b.ARTIFACT, kept)


def test_a_store_that_is_away_keeps_no_recording_from_being_kept() -> None:
    job = b.job(b.evaluated(recording=RECORDED.dump()))
    away = Unavailable("StoreUnavailable", "store:9000 does not answer")
    planned = decide(job, said={**PUBLISHED, PublishRecording: away})
    b.check(planned, Wanted(("StoreUnavailable", "False"), phase="Publishing", after=5), "Complete")
    assert planned.create == ()


def test_a_policy_version_says_where_it_comes_from_and_belongs_to_nobody() -> None:
    [obj] = decide(EVALUATED, said=PUBLISHED).create
    spec = PolicyVersionSpec.model_validate(obj["spec"])
    assert obj["metadata"] == {"name": "cartpole-4", "namespace": "games"}
    assert (spec.policy, spec.version, spec.artifact, spec.interface) == ("cartpole", 4, b.ARTIFACT, b.CARTPOLE)
    assert spec.environment.model_dump() == b.PINNED
    assert (spec.provenance.uid, spec.provenance.attempt, spec.provenance.seed) == ("a-uid", 1, 3)
    assert spec.provenance.image == "registry.example/trainer@sha256:1"
    assert spec.evaluation.dump() == {**b.EVALUATION, "evaluatedBefore": 0}


def test_a_published_job_has_not_failed() -> None:
    status: Any = decide(EVALUATED, said=PUBLISHED).status
    assert {c.type: c.status for c in status.conditions} == {"Complete": "True", "Failed": "False"}
