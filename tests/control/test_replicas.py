"""What the replicas' reports become: is the log durable, could fallback and pin act at once?"""

from __future__ import annotations

from typing import Any

import pytest
from tests.control import builders as b
from tests.control.test_rollout import BOTH, ONE, SILENT, decide, everywhere

from checkrein.api import conditions
from checkrein.api.deployment import AgentDeployment
from checkrein.api.policy import PolicyVersion
from checkrein.api.tasks import AgentReport
from checkrein.control.plan import Plan

GOOD = AgentReport()
AWAY = AgentReport(storing=False, storing_reason="connection refused")
FULL = AgentReport(logging=False, logging_reason="disk full")
DURABLE = b.condition("Logging", True, "Durable", "before")
VERSIONS = (b.version("cartpole-1"), b.version("cartpole-2", letter="2"))


def said(planned: Plan, type_: str) -> tuple[str, str, str] | None:
    status: Any = planned.status
    found = conditions.get(status.conditions, type_)
    return (found.status, found.reason, found.message) if found else None


@pytest.mark.parametrize(
    ("reports", "before", "expected"),
    [
        pytest.param([GOOD, GOOD], [], ("True", "Durable", "keeps its decisions"), id="every log is durable"),
        pytest.param(
            [GOOD, FULL],
            DURABLE,
            ("False", "LogNotDurable", "cartpole-agent-1: disk full; no action is explored there until it is again"),
            id="one is not -> which, and why",
        ),
        pytest.param(
            [FULL, FULL],
            DURABLE,
            ("False", "LogNotDurable", "cartpole-agent-0: disk full, likewise at 1 more"),
            id="all",
        ),
        pytest.param(
            [GOOD, AWAY],
            DURABLE,
            (
                "True",
                "Durable",
                "cartpole-agent-1 keeps them on its disk until the store takes them: connection refused",
            ),
            id="the store is away from one -> durable, and said",
        ),
        pytest.param([GOOD, SILENT], [], ("True", "Durable", "that answers"), id="one does not answer"),
        pytest.param([SILENT, SILENT], [], None, id="none answers -> nothing is claimed"),
        pytest.param([SILENT, SILENT], DURABLE, ("True", "Durable", "before"), id="none answers -> as it was"),
    ],
)
def test_logging(reports: list[Any], before: list[Any], expected: tuple[str, str, str] | None) -> None:
    heard = dict(zip(("10.0.0.1", "10.0.0.2"), reports, strict=True))
    planned = decide(b.agent(stable=ONE, conditions=before), heard)
    told = said(planned, "Logging")
    if expected is None:
        assert told is None
    else:
        assert told
        assert told[:2] == expected[:2]
        assert expected[2] in told[2]


DENIED = b.loaded(("cartpole-1", "1"), ready=False, reason="AccessDenied", message="no key")
FALLEN_BACK = DENIED.model_copy(update={"regime": "Fallback"})
NOT_YET = AgentReport(regime="Fallback")


@pytest.mark.parametrize(
    ("reports", "phase", "message"),
    [
        pytest.param([GOOD, GOOD], "Healthy", "cartpole-1 decides on 2 of 2 replicas", id="all"),
        pytest.param([GOOD, SILENT], "Healthy", "cartpole-1 decides on 2 of 2 replicas", id="nothing is known of one"),
        pytest.param(
            [GOOD, FALLEN_BACK],
            "Degraded",
            "cartpole-1 decides on 1 of 2 replicas; spec.fallback decides on cartpole-agent-1: AccessDenied: no key",
            id="one cannot load it -> which, and why",
        ),
        pytest.param(
            [NOT_YET, NOT_YET],
            "Degraded",
            "cartpole-1 decides on 0 of 2 replicas; spec.fallback decides on cartpole-agent-0: cartpole-1 is not loaded"
            " yet, likewise at 1 more",
            id="none has it yet",
        ),
    ],
)
def test_a_replica_at_which_the_fallback_decides_is_not_one_of_the_policy(
    reports: list[Any], phase: str, message: str
) -> None:
    planned = decide(b.agent(stable=ONE), dict(zip(("10.0.0.1", "10.0.0.2"), reports, strict=True)))
    assert said(planned, "Ready") == ("True", "Deciding", message)
    assert planned.status
    assert planned.status.phase == phase
    assert planned.after is not None
    assert (planned.after.total_seconds() <= 5) == (phase == "Degraded")


RULES = AgentReport(problems=["cartpole-1, spec.shield: forbid needs Discrete actions"])
BROKEN_RULES = b.condition("SpecHonoured", False, "NotHonoured", "before")


@pytest.mark.parametrize(
    ("reports", "before", "expected"),
    [
        pytest.param([GOOD, GOOD], [], None, id="nothing was ever wrong -> nothing is said"),
        pytest.param(
            [GOOD, RULES],
            [],
            ("False", "NotHonoured", "cartpole-agent-1: cartpole-1, spec.shield: forbid needs Discrete actions"),
            id="a rule that cannot be kept -> which, where",
        ),
        pytest.param([RULES, RULES], [], ("False", "NotHonoured", "(and 1 more)"), id="everywhere"),
        pytest.param([GOOD, GOOD], BROKEN_RULES, ("True", "Honoured", "does what the spec says"), id="mended"),
        pytest.param(
            [SILENT, SILENT], BROKEN_RULES, ("False", "NotHonoured", "before"), id="none answers -> as it was"
        ),
    ],
)
def test_a_spec_that_cannot_be_carried_out(
    reports: list[Any], before: list[Any], expected: tuple[str, str, str] | None
) -> None:
    heard = dict(zip(("10.0.0.1", "10.0.0.2"), reports, strict=True))
    told = said(decide(b.agent(stable=ONE, conditions=before), heard), "SpecHonoured")
    if expected is None:
        assert told is None
    else:
        assert told
        assert told[:2] == expected[:2]
        assert expected[2] in told[2]


def fallback(name: str = "cartpole-2", **status: Any) -> AgentDeployment:
    return b.agent("cartpole-1", stable=ONE, spec={"fallback": {"policyVersion": name}}, **status)


LOADED = b.loaded(("cartpole-1", "1"), ("cartpole-2", "2"))
BROKEN = b.loaded(("cartpole-2", "2"), ready=False, reason="WarmUpFailed", message="NaN in action", permanent=True)


@pytest.mark.parametrize(
    ("versions", "reports", "expected", "after"),
    [
        pytest.param(
            VERSIONS,
            everywhere(LOADED),
            ("True", "Loaded", "cartpole-2 is loaded and warmed up on 2 of 2"),
            30,
            id="yes",
        ),
        pytest.param(
            VERSIONS,
            {"10.0.0.1": LOADED, "10.0.0.2": GOOD},
            ("False", "Loading", "on 1 of 2 running replicas"),
            2,
            id="not everywhere yet -> looked at again soon",
        ),
        pytest.param(
            VERSIONS,
            {"10.0.0.1": LOADED, "10.0.0.2": BROKEN},
            ("False", "WarmUpFailed", "cartpole-agent-1: cartpole-2: NaN in action"),
            30,
            id="a replica cannot load it",
        ),
        pytest.param(
            VERSIONS,
            everywhere(b.loaded(("cartpole-2", "3"))),
            ("False", "Loading", "on 0 of 2"),
            2,
            id="other bytes by the same name are not it",
        ),
        pytest.param(
            VERSIONS[:1],
            everywhere(LOADED),
            ("False", "PolicyVersionNotFound", "spec.fallback.policyVersion: no PolicyVersion 'cartpole-2'"),
            30,
            id="there is no such version",
        ),
        pytest.param(
            (VERSIONS[0], b.version("cartpole-2", letter="2", verified=False)),
            everywhere(LOADED),
            ("False", "PolicyNotVerified", "cartpole-2 is not verified"),
            30,
            id="its bytes were changed",
        ),
        pytest.param(
            (VERSIONS[0], b.version("cartpole-2", letter="2", interface=b.PENDULUM)),
            everywhere(LOADED),
            ("False", "InterfaceMismatch", "has other spaces than cartpole-1"),
            30,
            id="callers know other spaces",
        ),
    ],
)
def test_the_fallback(
    versions: tuple[PolicyVersion, ...], reports: Any, expected: tuple[str, str, str], after: float
) -> None:
    planned = decide(fallback(), reports, versions=versions)
    told = said(planned, "FallbackReady")
    assert told
    assert told[:2] == expected[:2]
    assert expected[2] in told[2]
    assert planned.after
    assert planned.after.total_seconds() == after


def test_without_replicas_nothing_is_ready_and_nobody_asks_again() -> None:
    planned = decide(fallback(), pods=[])
    assert said(planned, "FallbackReady") == (
        "False",
        "NoReplicaRuns",
        "spec.fallback.policyVersion: no replica runs that could load cartpole-2",
    )
    assert planned.after
    assert planned.after.total_seconds() == 30


def test_a_pin_is_told_of_while_it_holds() -> None:
    held = b.agent("cartpole-1", stable=ONE, spec=b.override("Pin", policyVersion="cartpole-2"))
    planned = decide(held, everywhere(BROKEN))
    assert said(planned, "PinReady") == (
        "False",
        "WarmUpFailed",
        "spec.override.policyVersion: cartpole-agent-0: cartpole-2: NaN in action",
    )
    status: Any = planned.status
    over = b.agent("cartpole-1", stable=ONE, spec=b.override("Pin", until=b.NOW, policyVersion="cartpole-2"))
    assert said(decide(over.model_copy(update={"status": status}), everywhere(LOADED)), "PinReady") is None


def test_without_a_fallback_there_is_no_word_of_it() -> None:
    before = b.condition("FallbackReady", True, "Loaded")
    planned = decide(b.agent(stable=ONE, conditions=before), everywhere(LOADED), BOTH)
    assert said(planned, "FallbackReady") is None
