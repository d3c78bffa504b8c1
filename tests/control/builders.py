"""Objects for the tables: what a person wrote, what a pod did, what the world answered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from checkrein.api import conditions
from checkrein.api.deployment import AgentDeployment, PolicyPointer
from checkrein.api.environment import Findings, RLEnvironment
from checkrein.api.meta import FileReference, Model
from checkrein.api.policy import Artifact, KeptRecording, PolicyVersion
from checkrein.api.spaces import Interface, Space
from checkrein.api.tasks import AgentReport, EvaluationResults, LoadedPolicy
from checkrein.api.training import TrainingJob
from checkrein.control.children import JobView, PodView
from checkrein.control.plan import Answers, Plan, Request
from checkrein.control.settings import Settings

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
CLUSTER = "cluster-uid"
TRAINER = "registry.example/trainer:1"
SETTINGS = Settings.model_validate(
    {"store": {"endpoint": "store:9000"}, "images": {"trainer": TRAINER, "agent": "registry.example/agent:1"}}
)

BOX = Space(type="Box", dtype="float32", shape=[4], low=["-1"], high=["1"])
DISCRETE = Space(type="Discrete", dtype="int64", n=2)
CARTPOLE = Interface(observation=BOX, action=DISCRETE)
PENDULUM = Interface(observation=BOX, action=BOX)


def ago(seconds: float) -> datetime:
    """A moment before NOW."""
    return NOW - timedelta(seconds=seconds)


JUST_NOW, EARLIER = ago(1), ago(60)


def digest(letter: str = "a") -> str:
    """A digest that is told from others by one hexadecimal digit."""
    return f"sha256:{letter * 64}"


def meta(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "namespace": "games", "uid": f"{name}-uid", "resourceVersion": "7", "generation": 1, **fields}


def condition(
    type_: str, status: bool | None, reason: str, message: str = "", generation: int = 1, at: datetime = EARLIER
) -> list[dict[str, Any]]:
    """A status' list with one condition."""
    put = conditions.put([], type_, status, reason, message, generation=generation, now=at)
    return [c.model_dump(mode="json", by_alias=True) for c in put]


BOUNDS = {"min": "0", "max": "500"}


def environment(
    *,
    status: dict[str, Any] | None = None,
    bounds: dict[str, str] | None = BOUNDS,
    generation: int = 1,
    **spec: Any,
) -> RLEnvironment:
    """RLEnvironment cartpole, not looked at yet."""
    reward = {"bounds": bounds} if bounds else {}
    body = {"source": {"gymnasium": {"id": "CartPole-v1"}}, "reward": reward, **spec}
    return RLEnvironment.model_validate(
        {"metadata": meta("cartpole", generation=generation), "spec": body, "status": status or {}}
    )


def ready_environment(
    interface: Interface = CARTPOLE, digest_: str = digest("e"), bounds: dict[str, str] | None = BOUNDS
) -> RLEnvironment:
    """RLEnvironment cartpole after a probe that found nothing."""
    status = {
        "phase": "Ready",
        "digest": digest_,
        "image": "registry.example/trainer@sha256:1",
        "spaces": interface.dump(),
        "findings": Findings(deterministic=True).dump(),
        "conditions": condition("Ready", True, "Probed"),
    }
    return environment(status=status, bounds=bounds)


MANIFEST = FileReference(key="runs/c/games/a-uid/1/train/artifact/manifest.json", digest=digest("b"), size=300)
ARTIFACT = Artifact(bucket="policies", key=f"sha256/bb/{'b' * 64}", version_id="v", digest=digest("b"), size=300)
RECORDING = KeptRecording(key=f"sha256/cc/{'c' * 64}", version_id="w", digest=digest("c"), size=90)
PINNED = {"name": "cartpole", "digest": digest("e")}
EVALUATION = {"episodes": 300, "mean": "498.00", "lowerBound": "489.00"}


def job(status: dict[str, Any] | None = None, algorithm: str = "PPO", **spec: Any) -> TrainingJob:
    """TrainingJob a, not started yet."""
    body = {
        "environmentRef": {"name": "cartpole"},
        "algorithm": {"name": algorithm},
        "budget": {"steps": 5000},
        "publish": {"policy": "cartpole"},
        **spec,
    }
    return TrainingJob.model_validate({"metadata": meta("a"), "spec": body, "status": status or {}})


def started(attempt: int = 1, **more: Any) -> dict[str, Any]:
    """Status of a TrainingJob whose attempt runs since a minute."""
    return {
        "phase": "Running",
        "attempt": attempt,
        "startTime": ago(60).isoformat(),
        "environment": PINNED,
        "conditions": condition("Complete", False, "Training"),
        **more,
    }


def trained(**more: Any) -> dict[str, Any]:
    """Status of a TrainingJob with an artifact that is not evaluated."""
    return started(**{"phase": "Evaluating", "artifact": MANIFEST.dump(), **more})


def evaluated(**more: Any) -> dict[str, Any]:
    """Status of a TrainingJob whose artifact passed."""
    return trained(phase="Publishing", evaluation=EVALUATION, **more)


def ended(type_: str, reason: str, at: datetime = EARLIER) -> dict[str, Any]:
    """Status of a TrainingJob that is Complete or Failed for good."""
    return started(conditions=condition(type_, True, reason), completionTime=at.isoformat(), observedGeneration=1)


def results(values: Iterable[float], manifest: str = digest("b"), ended: Iterable[int] = ()) -> EvaluationResults:
    """What an evaluator stored; a rule of the shield ended the episodes `ended`."""
    returns = list(values)
    return EvaluationResults(
        manifest=manifest,
        seeds=list(range(len(returns))),
        returns=returns,
        lengths=[1] * len(returns),
        shielded=[int(episode in ended) for episode in range(len(returns))],
        ended=list(ended),
    )


def pod(report: Model | str = "", **fields: Any) -> PodView:
    """A pod; with a report or an exit code one that ended."""
    text = report if isinstance(report, str) else report.model_dump_json(by_alias=True, exclude_none=True)
    over = bool(text) or fields.get("exit_code") is not None
    fields = {"phase": "Failed" if over else "Pending", **fields}
    return PodView(name="pod-x", report=text, **fields)


def running_pod(**fields: Any) -> PodView:
    """A pod that answers."""
    return PodView(
        **{"name": "pod-x", "phase": "Running", "address": "10.0.0.1", "ready": True, "running": True, **fields}
    )


def running_job(name: str, pod_: PodView | None = None, created: datetime = JUST_NOW) -> JobView:
    """A Job that has not ended."""
    return JobView(name=name, uid=f"{name}-uid", created_at=created, pod=pod_)


def done_job(name: str, report: Model | str = "", **fields: Any) -> JobView:
    """A Job whose pod exited with 0."""
    pod_ = pod(report, phase="Succeeded", exit_code=0, ended="Completed", **fields)
    return JobView(name=name, succeeded=True, created_at=ago(60), finished_at=ago(1), pod=pod_)


def failed_job(
    name: str,
    report: Model | str = "",
    *,
    at: datetime = JUST_NOW,
    failure: str = "BackoffLimitExceeded",
    **fields: Any,
) -> JobView:
    """A Job that gave up. `pod=None`: nothing is left of its pod."""
    pod_ = fields.pop("pod", ...)
    pod_ = pod(report, phase="Failed", **{"exit_code": 1, **fields}) if pod_ is ... else pod_
    return JobView(name=name, failed=True, failure=failure, created_at=ago(60), finished_at=at, pod=pod_)


def version(
    name: str = "cartpole-1",
    *,
    interface: Interface = CARTPOLE,
    verified: bool | None = True,
    letter: str = "1",
    uid: str = "a-uid",
    **status: Any,
) -> PolicyVersion:
    """A PolicyVersion of the TrainingJob with this uid; `letter` tells its artifact from others'. verified None: not
    looked at.
    """
    policy, _, number = name.rpartition("-")
    said = condition("Verified", verified, "Verified" if verified else "DigestMismatch") if verified is not None else []
    spec = {
        "policy": policy,
        "version": int(number),
        "artifact": pointer(name, letter).artifact.dump(),
        "interface": interface.dump(),
        "environment": PINNED,
        "provenance": {"trainingJob": "a", "uid": uid, "attempt": 1, "seed": 0, "image": TRAINER},
        "evaluation": EVALUATION,
    }
    return PolicyVersion.model_validate(
        {"metadata": meta(name), "spec": spec, "status": {"conditions": said, **status}}
    )


def pointer(name: str, letter: str = "1", interface: Interface = CARTPOLE) -> PolicyPointer:
    """What an AgentDeployment's status says of a version."""
    artifact = ARTIFACT.model_copy(update={"digest": digest(letter), "key": f"sha256/{letter * 2}/{letter * 64}"})
    return PolicyPointer(name=name, artifact=artifact, interface=interface)


def agent(
    wanted: str = "cartpole-1",
    *,
    stable: PolicyPointer | None = None,
    replicas: int = 2,
    generation: int = 1,
    spec: dict[str, Any] | None = None,
    **status: Any,
) -> AgentDeployment:
    """AgentDeployment cartpole; `spec` adds to what it wants."""
    body = {"policyVersion": wanted, "replicas": replicas, **(spec or {})}
    pointers = {"stable": stable.dump()} if stable else {}
    return AgentDeployment.model_validate(
        {"metadata": meta("cartpole", generation=generation), "spec": body, "status": {**pointers, **status}}
    )


def override(mode: str = "Fallback", *, until: datetime | None = NOW + timedelta(minutes=5), **fields: Any) -> Any:
    """A spec with an override, and with the fallback that it may need."""
    end = {"until": until.isoformat()} if until else {}
    body = {"mode": mode, "reason": "sensor fault", "by": "ops@example.com", **end, **fields}
    return {"fallback": {"action": [0]}, "override": body}


def loaded(*policies: tuple[str, str], **fields: Any) -> AgentReport:
    """A replica that has loaded these (name, letter)."""
    fields = {"ready": True, **fields}
    return AgentReport(policies=[LoadedPolicy(name=n, digest=digest(letter), **fields) for n, letter in policies])


class World(dict[Any, Any]):
    """Answers by the request itself, or else by its type; remembers what was asked."""

    def __init__(self, answers: dict[Any, Any] | None = None) -> None:
        super().__init__(answers or {})
        self.asked: list[Request[Any]] = []

    def __contains__(self, request: object) -> bool:
        return super().__contains__(request) or super().__contains__(type(request))

    def __getitem__(self, request: Any) -> Any:
        self.asked.append(request)
        return super().__getitem__(request if super().__contains__(request) else type(request))


def answers(given: dict[Any, Any] | None = None) -> Answers:
    """What the world says, by request or by type of request."""
    return Answers(World(given))


@dataclass(frozen=True)
class Wanted:
    """What a plan must be; what is not given must be empty. `said` is reason and status of the main condition."""

    said: tuple[str, str] | None = None
    words: str = ""
    phase: str | None = None
    create: tuple[str, ...] = ()
    apply: tuple[str, ...] | None = None  # None: whatever it applies
    delete: tuple[str, ...] = ()
    after: float | None = None
    status: dict[str, Any] = field(default_factory=dict)


def check(plan: Plan, wanted: Wanted, main: str) -> None:
    """Compare all of a plan but the insides of the objects that it creates."""
    assert tuple(f"{o['kind']}/{o['metadata']['name']}" for o in plan.create) == wanted.create
    if wanted.apply is not None:
        assert tuple(f"{o['kind']}/{o['metadata']['name']}" for o in plan.apply) == wanted.apply
    assert tuple(f"{r.kind}/{r.name}" for r in plan.delete) == wanted.delete
    assert (plan.after.total_seconds() if plan.after is not None else None) == wanted.after
    if wanted.said is None:
        assert plan.status is None
        return
    status: Any = plan.status
    assert status is not None, "the plan leaves the status as it is"
    found = conditions.get(status.conditions, main)
    assert found, f"no condition {main}"
    assert (found.reason, found.status) == wanted.said, found.message
    assert wanted.words in found.message
    assert found.observed_generation == status.observed_generation
    if wanted.phase:
        assert status.phase == wanted.phase
    told = status.dump()
    assert {key: told.get(key) for key in wanted.status} == wanted.status
