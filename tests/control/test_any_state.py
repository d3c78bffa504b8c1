"""Whatever state objects are in, a planner answers; and what it writes reads back as what it meant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.control import builders as b
from tests.control.builders import NOW, World

from checkrein.api import names
from checkrein.api.tasks import (
    AgentReport,
    EvaluationReport,
    Failure,
    LoadedPolicy,
    ProbeReport,
    TrainingProgress,
    TrainingReport,
)
from checkrein.api.training import Progress
from checkrein.control import environment, policy, requests, rollout
from checkrein.control.children import JobView, PodView
from checkrein.control.plan import Answers, Plan, Unanswered, Unavailable
from checkrein.control.training import planner as training
from checkrein.control.training.state import Observed as TrainingObserved

MOMENTS = st.integers(0, 10**6).map(b.ago)
WORDS = st.sampled_from(["", "Killed", "Evicted", "x" * 5000])
LETTERS = st.sampled_from("12")
FAILURES = st.none() | st.builds(
    Failure, reason=st.just("Broken"), message=st.just("m" * 1024), permanent=st.booleans()
)
FILES = st.none() | st.just(b.MANIFEST)
INTERFACES = st.sampled_from([b.CARTPOLE, b.PENDULUM])
REPORTS = st.one_of(
    st.builds(TrainingReport, failure=FAILURES, manifest=FILES),
    st.builds(EvaluationReport, failure=FAILURES, results=FILES, recording=FILES),
    st.builds(ProbeReport, failure=FAILURES, interface=st.none() | INTERFACES),
).map(lambda report: report.model_dump_json(by_alias=True))
PODS = st.builds(
    PodView,
    name=st.just("pod"),
    phase=st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown"]),
    address=st.sampled_from(["", "10.0.0.1", "10.0.0.2"]),
    ready=st.booleans(),
    running=st.booleans(),
    deleting=st.booleans(),
    exit_code=st.none() | st.sampled_from([0, 1, 2, 137]),
    ended=WORDS,
    report=REPORTS | WORDS,
    image=st.sampled_from(["", "sha256:1", "registry.example/trainer@sha256:1"]),
    problem=st.none() | st.just(("ErrImagePull", "m" * 5000)),
)
TROUBLE = st.builds(Unavailable, st.sampled_from(["StoreUnavailable", "NotFound"]), WORDS, temporary=st.booleans())


def job_views(name: str) -> st.SearchStrategy[JobView]:
    return st.builds(
        JobView,
        name=st.just(name),
        succeeded=st.booleans(),
        failed=st.booleans(),
        failure=WORDS,
        created_at=st.none() | MOMENTS,
        finished_at=st.none() | MOMENTS,
        pod=st.none() | PODS,
    )


def some_jobs(*every: str) -> st.SearchStrategy[dict[str, JobView]]:
    return st.fixed_dictionaries({}, optional={name: job_views(name) for name in every})


CONDITIONS = st.sampled_from(
    [
        [],
        b.condition("Complete", False, "Training"),
        b.condition("Complete", True, "Published"),
        b.condition("Failed", True, "GateNotMet"),
        b.condition("Ready", False, "Probing"),
        b.condition("Stalled", True, "EnvironmentCrashed"),
        b.condition("Verified", True, "Verified"),
        b.condition("Verified", False, "DigestMismatch"),
    ]
)
FLOATS = st.sampled_from([0.0, 498.0, float("nan"), float("inf"), 1e308, -1e15])
WORLDS = st.fixed_dictionaries(
    {
        requests.ReadProgress: TROUBLE | st.just(TrainingProgress(progress=Progress(percent=50))),
        requests.ReadJob: TROUBLE | st.none() | job_views("a-train-1"),
        requests.ReadWarning: TROUBLE | WORDS,
        requests.EnsureSession: TROUBLE | st.just("s"),
        requests.PruneCheckpoints: TROUBLE | st.just(0),
        requests.EnsureTokenKey: TROUBLE | st.just("k"),
        requests.OpenSeed: TROUBLE | st.just("5eed"),
        requests.ReserveEvaluation: TROUBLE | st.integers(0, 10**6),
        requests.ReserveVersion: TROUBLE | st.integers(1, 10**6),
        requests.ReadResults: TROUBLE | st.lists(FLOATS | st.floats(), max_size=4).map(b.results),
        requests.PublishArtifact: TROUBLE | st.just(b.ARTIFACT),
        requests.PublishRecording: TROUBLE | st.just(b.RECORDING),
        requests.ReadVersion: TROUBLE | st.none(),
        requests.VerifyArtifact: TROUBLE | INTERFACES,
        requests.ReadHistory: TROUBLE | st.just(()),
        requests.AppendHistory: TROUBLE | st.just(1),
        requests.ReadAgent: TROUBLE
        | st.builds(
            AgentReport,
            logging=st.booleans(),
            logging_reason=st.sampled_from(["", "m" * 256]),
            storing=st.booleans(),
            storing_reason=st.sampled_from(["", "m" * 256]),
            policies=st.lists(
                st.builds(
                    LoadedPolicy,
                    name=st.just("cartpole-1"),
                    digest=LETTERS.map(b.digest),
                    ready=st.booleans(),
                    reason=st.sampled_from(["", "WarmUpFailed"]),
                    message=st.sampled_from(["", "m" * 1024]),
                    permanent=st.booleans(),
                ),
                max_size=3,
            ),
        ),
    }
)
ENVIRONMENTS = st.one_of(
    st.builds(
        b.environment,
        bounds=st.sampled_from([None, b.BOUNDS]),
        generation=st.integers(1, 2),
        status=CONDITIONS.map(lambda c: {"conditions": c}),
    ),
    st.builds(b.ready_environment, INTERFACES, LETTERS.map(b.digest), st.sampled_from([None, b.BOUNDS])),
)
STAGES: list[Callable[..., dict[str, Any]]] = [b.started, b.trained, b.evaluated]
JOBS = st.builds(
    lambda stage, attempt, said, digest, spec: b.job(
        {**stage(attempt=attempt, conditions=said), "environment": {"name": "cartpole", "digest": b.digest(digest)}},
        **spec,
    ),
    st.sampled_from(STAGES),
    st.integers(0, 101),
    CONDITIONS,
    LETTERS,
    st.fixed_dictionaries(
        {
            "algorithm": st.sampled_from(["PPO", "DQN", "SAC"]),
            "backoffLimit": st.integers(0, 100),
            "gates": st.sampled_from([[], [{"atLeast": "475"}], [{"atLeast": "1", "confidence": "0.999999999"}]]),
            "evaluation": st.sampled_from([{"episodes": 1}, {"episodes": 4}]),
            "activeDeadlineSeconds": st.none() | st.integers(1, 31_536_000),
            "ttlSecondsAfterFinished": st.none() | st.integers(0, 31_536_000),
        }
    ),
)
AGENTS = st.builds(
    b.agent,
    st.sampled_from(["cartpole-1", "cartpole-2"]),
    stable=st.none() | st.builds(b.pointer, st.just("cartpole-1"), LETTERS, INTERFACES),
    replicas=st.integers(0, 3),
    generation=st.integers(1, 2),
    epoch=st.integers(0, 9),
    rejected=st.lists(st.just({"name": "cartpole-2", "reason": "Slow", "generation": 1}), max_size=16),
    spec=st.sampled_from(
        [
            {},
            {"fallback": {"policyVersion": "cartpole-1", "action": [0]}},
            b.override(reason="r" * 256, by="b" * 320),
            b.override("Stop", until=None),
            b.override("Pin", policyVersion="cartpole-2"),
            b.override("Pin", policyVersion="cartpole-2", until=NOW),
            b.override("Action", action=[0.1] * 1024, until=NOW + timedelta(microseconds=1)),
        ]
    ),
    conditions=st.sampled_from([[], b.condition("Overridden", True, "Pin"), b.condition("PinReady", False, "Loading")]),
)
VERSIONS = st.builds(b.version, interface=INTERFACES, verified=st.none() | st.booleans(), letter=LETTERS)


def checked(planner: Any, resource: Any, observed: Any, world: dict[Any, Any]) -> Plan:
    """The plan, after what must hold of every plan."""
    planned: Plan = planner(resource, observed, Answers(World(world)), NOW)
    if planned.status is not None:
        assert type(planned.status).model_validate(planned.status.dump()) == planned.status
    assert planned.after is None or planned.after >= timedelta()
    moved = planned.create or planned.after == timedelta()
    if planned.status is not None and not moved:
        told = resource.model_copy(update={"status": planned.status})
        again = planner(told, observed, Answers(World(world)), NOW).status
        assert again in (None, planned.status), "a state that nothing has changed is written again and again"
    return planned


@settings(deadline=None)
@given(ENVIRONMENTS, some_jobs("cartpole-probe-1", "cartpole-probe-2"), WORLDS)
def test_environment(resource: Any, jobs: dict[str, JobView], world: dict[Any, Any]) -> None:
    checked(environment.plan, resource, environment.Observed(jobs, b.SETTINGS), world)


@settings(max_examples=300, deadline=None)
@given(JOBS, st.none() | ENVIRONMENTS, st.data(), WORLDS)
def test_training(resource: Any, known: Any, data: st.DataObject, world: dict[Any, Any]) -> None:
    attempt = resource.status.attempt
    jobs = data.draw(some_jobs(names.training_job("a", attempt), names.evaluation_job("a", attempt), "a-train-7"))
    checked(training.plan, resource, TrainingObserved(known, jobs, b.SETTINGS, b.CLUSTER), world)


@given(
    st.lists(FLOATS | st.floats(), min_size=2, max_size=4),
    st.integers(0, 10**6),
    st.sampled_from(["0.6", "0.999999999"]),
)
def test_judgement(returns: list[float], before: int, confidence: str) -> None:
    """Straight to where any number may come in."""
    resource = b.job(b.trained(), gates=[{"atLeast": "1", "confidence": confidence}], evaluation={"episodes": 2})
    done = b.done_job("a-evaluate-1", EvaluationReport(results=b.MANIFEST))
    world = {requests.ReserveEvaluation: before, requests.ReadResults: b.results(returns)}
    observed = TrainingObserved(b.ready_environment(), {done.name: done}, b.SETTINGS, b.CLUSTER)
    status: Any = checked(training.plan, resource, observed, world).status
    assert status.phase in ("Failed", "Publishing")


@given(VERSIONS, st.lists(AGENTS, max_size=2), WORLDS)
def test_policy(resource: Any, deployments: list[Any], world: dict[Any, Any]) -> None:
    checked(policy.plan, resource, policy.Observed(deployments, b.SETTINGS), world)


@given(AGENTS, st.none() | VERSIONS, st.lists(PODS, max_size=3), WORLDS)
def test_rollout(resource: Any, version: Any, pods: list[PodView], world: dict[Any, Any]) -> None:
    versions = {resource.spec.policy_version: version} if version else {}
    observed = rollout.Observed(versions, {}, pods, b.SETTINGS, b.CLUSTER)
    planned: Any = checked(rollout.plan, resource, observed, world).status
    before = resource.status
    assert (planned.epoch - before.epoch) == int(planned.stable != before.stable)


@given(JOBS)
def test_questions_come_to_an_end(resource: Any) -> None:
    environment_ = b.ready_environment(digest_=resource.status.environment.digest)
    known: dict[Any, Any] = {}
    while missing := _missing(resource, TrainingObserved(environment_, {}, b.SETTINGS, b.CLUSTER), known):
        assert not missing & set(known), "asked again"
        assert len(known) < 4, known
        known |= dict.fromkeys(missing, Unavailable("StoreUnavailable", "no answer"))


def _missing(resource: Any, observed: TrainingObserved, known: dict[Any, Any]) -> set[Any]:
    try:
        training.plan(resource, observed, Answers(known), NOW)
    except Unanswered as asked:
        return set(asked.requests)
    return set()
