"""Plans for AgentDeployments: nothing acts before its checks, and who acts changes in one write."""

from __future__ import annotations

from typing import Any

import pytest
from tests.control import builders as b
from tests.control.builders import NOW, Wanted

from checkrein.api import conditions
from checkrein.api.deployment import AgentDeployment, AgentDeploymentStatus
from checkrein.api.policy import PolicyVersion
from checkrein.api.tasks import AgentReport
from checkrein.control.children import PodView
from checkrein.control.plan import Answers, Plan, Unavailable
from checkrein.control.requests import AppendHistory, EnsureSession, EnsureTokenKey, ReadAgent, ReadHistory, ReadWarning
from checkrein.control.rollout import Observed, plan
from checkrein.control.workloads import agents

ONE, TWO = b.pointer("cartpole-1"), b.pointer("cartpole-2", "2")
SECRETS = {EnsureSession: "s", EnsureTokenKey: "k", ReadHistory: (), AppendHistory: 1}
SILENT = Unavailable("PodSilent", "10.0.0.1:8081/status: ConnectError")
SLOW = b.loaded(("cartpole-2", "2"), ready=False, reason="WarmUpFailed", message="NaN in action", permanent=True)
AWAY = b.loaded(("cartpole-2", "2"), ready=False, reason="StoreUnavailable", message="no answer")


def replicas(*addresses: str, **fields: Any) -> list[PodView]:
    return [b.running_pod(name=f"cartpole-agent-{int(a[-1]) - 1}", address=a, **fields) for a in addresses]


BOTH = replicas("10.0.0.1", "10.0.0.2")


def decide(
    agent: AgentDeployment,
    reports: dict[str, Any] | None = None,
    pods: list[PodView] = BOTH,
    versions: tuple[PolicyVersion, ...] = (b.version("cartpole-1"), b.version("cartpole-2", letter="2")),
    said: dict[Any, Any] | None = None,
) -> Plan:
    observed = Observed({v.metadata.name: v for v in versions}, _children(agent), pods, b.SETTINGS, b.CLUSTER)
    heard = {ReadAgent(address): report for address, report in (reports or {}).items()}
    return plan(agent, observed, Answers(b.World({**SECRETS, ReadAgent: SILENT, **heard, **(said or {})})), NOW)


def _children(agent: AgentDeployment) -> dict[tuple[str, str], Any]:
    made = agents.objects(agent, b.SETTINGS, b.CLUSTER)
    return {(o["kind"], o["metadata"]["name"]): o for o in made}


def everywhere(report: AgentReport) -> dict[str, AgentReport]:
    return {"10.0.0.1": report, "10.0.0.2": report}


LOADED = everywhere(b.loaded(("cartpole-1", "1"), ("cartpole-2", "2")))
FIRST = b.agent("cartpole-1")
SECOND = b.agent("cartpole-2", stable=ONE, epoch=3)


@pytest.mark.parametrize(
    ("plan_", "wanted"),
    [
        pytest.param(
            decide(FIRST, {"10.0.0.1": AgentReport(), "10.0.0.2": AgentReport()}),
            Wanted(
                ("Loading", "True"),
                "cartpole-1 is loaded and warmed up on 0 of 2",
                "Pending",
                after=0.25,
                status={"candidate": ONE.dump(), "stable": None, "epoch": 0},
            ),
            id="a first policy is checked too",
        ),
        pytest.param(
            decide(FIRST, pods=[]),
            Wanted(("Loading", "True"), "0 of 0 running replicas", after=0.25, status={"stable": None, "epoch": 0}),
            id="no replica runs -> nothing was shown, so nothing acts",
        ),
        pytest.param(
            decide(FIRST, LOADED),
            Wanted(
                ("Complete", "False"),
                "PolicyVersion cartpole-1 decides",
                "Healthy",
                after=30,
                status={"stable": ONE.dump(), "candidate": None, "epoch": 1},
            ),
            id="every replica has loaded it -> it acts",
        ),
        pytest.param(
            decide(SECOND, {**LOADED, "10.0.0.2": b.loaded(("cartpole-1", "1"))}),
            Wanted(
                ("Loading", "True"),
                "on 1 of 2",
                "Progressing",
                after=0.25,
                status={"stable": ONE.dump(), "candidate": TWO.dump(), "epoch": 3},
            ),
            id="one replica has not loaded it -> the old one acts",
        ),
        pytest.param(
            decide(SECOND, {**LOADED, "10.0.0.2": SILENT}),
            Wanted(("Loading", "True"), "on 1 of 2", after=0.25, status={"epoch": 3}),
            id="one replica does not answer -> the old one acts",
        ),
        pytest.param(
            decide(SECOND, {**LOADED, "10.0.0.2": AWAY}),
            Wanted(("Loading", "True"), "StoreUnavailable: no answer", after=0.25, status={"epoch": 3, "rejected": []}),
            id="one replica cannot reach the store -> the old one acts, and it is said",
        ),
        pytest.param(
            decide(SECOND, everywhere(b.loaded(("cartpole-2", "3")))),
            Wanted(("Loading", "True"), "on 0 of 2", after=0.25, status={"epoch": 3}),
            id="other bytes under the same name are loaded -> the old one acts",
        ),
        pytest.param(
            decide(SECOND, LOADED),
            Wanted(
                ("Complete", "False"),
                "cartpole-2 decides, before it cartpole-1",
                "Healthy",
                after=30,
                status={"stable": TWO.dump(), "candidate": None, "epoch": 4},
            ),
            id="every replica has loaded it -> the new one acts",
        ),
        pytest.param(
            decide(SECOND, LOADED, [*BOTH, *replicas("10.0.0.3", deleting=True), b.pod()]),
            Wanted(("Complete", "False"), after=30, status={"epoch": 4, "replicas": 3, "readyReplicas": 2}),
            id="replicas that end or have not started are not asked",
        ),
        pytest.param(
            decide(b.agent("cartpole-1", stable=TWO, epoch=4), LOADED),
            Wanted(("Complete", "False"), after=30, status={"stable": ONE.dump(), "epoch": 5}),
            id="rollback is a change like any other",
        ),
        pytest.param(
            decide(b.agent("cartpole-1", stable=ONE, candidate=TWO.dump(), epoch=3)),
            Wanted(
                ("Complete", "False"),
                "cartpole-1 decides",
                "Healthy",
                after=30,
                status={"candidate": None, "epoch": 3},
            ),
            id="back to stable during the checks -> the candidate is dropped, nothing changes",
        ),
        pytest.param(
            decide(SECOND, {**LOADED, "10.0.0.2": SLOW}),
            Wanted(
                ("WarmUpFailed", "False"),
                "spec.policyVersion: cartpole-2: NaN in action; cartpole-1 goes on deciding",
                "Healthy",
                after=30,
                status={"stable": ONE.dump(), "candidate": None, "epoch": 3},
            ),
            id="one replica refuses it for good -> rejected, the old one acts",
        ),
        pytest.param(
            decide(SECOND, LOADED, versions=(b.version("cartpole-1"),)),
            Wanted(
                ("PolicyVersionNotFound", "False"),
                "no PolicyVersion 'cartpole-2' in this namespace; it decides once it exists; cartpole-1 goes on",
                "Healthy",
                after=30,
                status={"epoch": 3, "candidate": None},
            ),
            id="no such version -> the old one acts",
        ),
        pytest.param(
            decide(FIRST, LOADED, versions=()),
            Wanted(("PolicyVersionNotFound", "False"), "spec.policyVersion", "Pending", after=30),
            id="no such version and none before -> nothing acts",
        ),
        pytest.param(
            decide(SECOND, LOADED, versions=(b.version("cartpole-2", letter="2", verified=False),)),
            Wanted(("PolicyNotVerified", "False"), "is not verified (DigestMismatch: )", after=30, status={"epoch": 3}),
            id="its bytes were changed -> the old one acts",
        ),
        pytest.param(
            decide(SECOND, LOADED, versions=(b.version("cartpole-2", letter="2", verified=None),)),
            Wanted(("PolicyNotVerified", "False"), after=30, status={"epoch": 3}),
            id="not looked at yet -> the old one acts",
        ),
        pytest.param(
            decide(SECOND, LOADED, versions=(b.version("cartpole-2", letter="2", interface=b.PENDULUM),)),
            Wanted(("InterfaceMismatch", "False"), "has other spaces than cartpole-1", after=30, status={"epoch": 3}),
            id="other spaces than callers know -> the old one acts",
        ),
    ],
)
def test_plan(plan_: Plan, wanted: Wanted) -> None:
    b.check(plan_, wanted, "Progressing")
    assert plan_.apply == ()


@pytest.mark.parametrize("missing", [EnsureSession, EnsureTokenKey])
def test_without_its_secrets_a_replica_could_not_start(missing: type) -> None:
    away = Unavailable("StoreUnavailable", "store:9000 does not answer")
    planned = decide(SECOND, LOADED, said={missing: away})
    b.check(planned, Wanted(("StoreUnavailable", "False"), "store:9000", after=5, status={"epoch": 3}), "Progressing")


def test_only_a_later_generation_tries_a_rejected_version_again() -> None:
    rejected = _status(decide(SECOND, {**LOADED, "10.0.0.2": SLOW}))
    same, later = (
        SECOND.model_copy(update={"status": rejected, "metadata": SECOND.metadata.model_copy(update={"generation": g})})
        for g in (1, 2)
    )
    b.check(
        decide(same, LOADED),
        Wanted(("WarmUpFailed", "False"), "NaN in action", after=30, status={"epoch": 3}),
        "Progressing",
    )
    b.check(decide(later, LOADED), Wanted(("Complete", "False"), after=30, status={"epoch": 4}), "Progressing")


def test_a_rejection_names_the_version_that_was_asked_for() -> None:
    """A replica may know the same bytes by the name of another version."""
    report = b.loaded(("cartpole-1", "2"), ready=False, reason="WarmUpFailed", permanent=True)
    assert [r.name for r in _status(decide(SECOND, everywhere(report))).rejected] == ["cartpole-2"]


def test_rejections_are_kept_once_each_and_the_latest_ones_only() -> None:
    old = [{"name": f"cartpole-{i}", "reason": "Slow"} for i in range(2, 18)]
    rejected = _status(decide(b.agent("cartpole-2", stable=ONE, rejected=old), everywhere(SLOW))).rejected
    assert [r.name for r in rejected] == [*(f"cartpole-{i}" for i in range(3, 18)), "cartpole-2"]
    another = b.agent("cartpole-1", stable=TWO, rejected=old)
    report = b.loaded(("cartpole-1", "1"), ready=False, reason="Slow", permanent=True)
    assert [r.name for r in _status(decide(another, everywhere(report))).rejected][-2:] == ["cartpole-17", "cartpole-1"]


def test_the_epoch_grows_exactly_when_another_one_acts() -> None:
    """A whole life: the first, a second that fails and is tried again, a third that does not exist, the first."""
    agent, epochs, acting = b.agent("cartpole-1"), [], []
    for wanted, reports in [
        ("cartpole-1", everywhere(AgentReport())),
        ("cartpole-1", LOADED),
        ("cartpole-1", LOADED),
        ("cartpole-2", everywhere(SLOW)),
        ("cartpole-2", LOADED),
        ("cartpole-3", LOADED),
        ("cartpole-1", LOADED),
    ]:
        generation = agent.metadata.generation + 1
        agent = agent.model_copy(
            update={
                "spec": agent.spec.model_copy(update={"policy_version": wanted}),
                "metadata": agent.metadata.model_copy(update={"generation": generation}),
            }
        )
        agent = agent.model_copy(update={"status": _status(decide(agent, reports))})
        epochs.append(agent.status.epoch)
        acting.append(agent.status.stable and agent.status.stable.name)
    one, two = "cartpole-1", "cartpole-2"
    assert acting == [None, one, one, one, two, two, one]
    assert epochs == [0, 1, 1, 1, 2, 2, 3]


def _status(planned: Plan) -> AgentDeploymentStatus:
    assert isinstance(planned.status, AgentDeploymentStatus)
    return planned.status


@pytest.mark.parametrize(
    ("agent", "pods", "wanted"),
    [
        pytest.param(b.agent(stable=ONE), BOTH, ("Deciding", "True", "Healthy"), id="all replicas answer"),
        pytest.param(b.agent(stable=ONE), BOTH[:1], ("Deciding", "True", "Degraded"), id="some replicas answer"),
        pytest.param(
            b.agent(stable=ONE),
            replicas("10.0.0.1", ready=False),
            ("NoReplicaReady", "False", "Degraded"),
            id="none does",
        ),
        pytest.param(
            b.agent(stable=ONE),
            [b.pod(problem=("ImagePullBackOff", "no such image"))],
            ("ImagePullBackOff", "False", "Degraded"),
            id="none does, and Kubernetes knows why",
        ),
        pytest.param(
            b.agent(stable=ONE),
            [*BOTH[:1], b.pod(problem=("Unschedulable", "0/3 nodes"))],
            ("Deciding", "True", "Degraded"),
            id="one answers, one cannot start",
        ),
        pytest.param(b.agent(stable=ONE, replicas=0), [], ("ScaledToZero", "False", "Pending"), id="scaled to zero"),
        pytest.param(b.agent(stable=ONE, replicas=0), BOTH, ("Deciding", "True", "Healthy"), id="on the way to zero"),
        pytest.param(b.agent("cartpole-9"), BOTH, ("NoPolicy", "False", "Pending"), id="nothing has passed its checks"),
    ],
)
def test_readiness(agent: AgentDeployment, pods: list[PodView], wanted: tuple[str, str, str]) -> None:
    status = _status(decide(agent, pods=pods))
    ready = conditions.get(status.conditions, "Ready")
    assert ready
    assert (ready.reason, ready.status, status.phase) == wanted


def test_replicas_that_are_refused_say_by_whom() -> None:
    made = {"name": "cartpole-agent", "uid": "set-uid", "creationTimestamp": b.ago(11).isoformat()}
    observed = Observed({}, {("StatefulSet", "cartpole-agent"): {"metadata": made}}, [], b.SETTINGS, b.CLUSTER)
    said = {**SECRETS, ReadWarning("games", "set-uid"): "exceeded quota: none, requested: pods=1"}
    for agent, reason in ((b.agent(stable=ONE), "PodRefused"), (b.agent(), "NoPolicy")):
        ready = conditions.get(_status(plan(agent, observed, b.answers(said), NOW)).conditions, "Ready")
        assert ready
        assert ready.reason == reason
        assert "StatefulSet cartpole-agent cannot create its pod: exceeded quota: none" in ready.message


def test_status_tells_the_scale_subresource() -> None:
    status = _status(decide(b.agent(stable=ONE), pods=[*BOTH, *replicas("10.0.0.3", deleting=True)]))
    assert (status.replicas, status.ready_replicas) == (2, 2)
    assert status.selector == (
        "app.kubernetes.io/component=agent,app.kubernetes.io/managed-by=checkrein,checkrein.dev/name=cartpole"
    )


def applied(agent: AgentDeployment, children: dict[tuple[str, str], Any]) -> list[str]:
    observed = Observed({}, children, [], b.SETTINGS, b.CLUSTER)
    return [f"{o['kind']}/{o['metadata']['name']}" for o in plan(agent, observed, b.answers(SECRETS), NOW).apply]


def test_what_a_replica_needs_is_applied_before_it() -> None:
    assert applied(b.agent(), {}) == [
        "ServiceAccount/cartpole-agent",
        "Role/cartpole-agent",
        "RoleBinding/cartpole-agent",
        "Service/cartpole-agent",
        "Service/cartpole-agent-pods",
        "StatefulSet/cartpole-agent",
        "PodDisruptionBudget/cartpole-agent",
    ]


def test_only_what_is_missing_or_made_from_another_spec_is_applied() -> None:
    two, three = b.agent(replicas=2), b.agent(replicas=3)
    present = _children(two)
    assert applied(two, present) == []
    assert applied(three, present) == ["StatefulSet/cartpole-agent"]
    del present["Service", "cartpole-agent"]
    assert applied(two, present) == ["Service/cartpole-agent"]


def test_a_change_of_who_acts_touches_no_pod() -> None:
    assert applied(b.agent("cartpole-2", stable=ONE, epoch=5), _children(FIRST)) == []
