"""Plans for PolicyVersions: verified again and again, and who uses them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.control import builders as b
from tests.control.builders import NOW, Wanted

from checkrein.api.deployment import AgentDeployment
from checkrein.api.policy import PolicyVersion
from checkrein.control.plan import Unavailable
from checkrein.control.policy import USED_BY_LIMIT, Observed, plan
from checkrein.control.requests import VerifyArtifact

NEW = b.version(verified=None)
AWAY = Unavailable("StoreUnavailable", "store:9000 does not answer")
CHANGED = Unavailable("DigestMismatch", "policy.onnx has digest sha256:0: its bytes were changed", temporary=False)


@pytest.mark.parametrize(
    ("version", "answer", "wanted"),
    [
        pytest.param(
            NEW,
            b.CARTPOLE,
            Wanted(("Verified", "True"), b.digest("1"), "Verified", after=300),
            id="bytes and interface are as named -> Verified, looked at again",
        ),
        pytest.param(
            b.version(),
            b.CARTPOLE,
            Wanted(("Verified", "True"), after=300, status={"phase": "Verified"}),
            id="verified before -> verified again",
        ),
        pytest.param(
            NEW,
            CHANGED,
            Wanted(("DigestMismatch", "False"), "its bytes were changed", "Rejected", after=300),
            id="other bytes -> Rejected",
        ),
        pytest.param(
            b.version(),
            CHANGED,
            Wanted(("DigestMismatch", "False"), phase="Rejected", after=300),
            id="verified before, other bytes now -> Rejected",
        ),
        pytest.param(
            b.version(verified=False),
            b.CARTPOLE,
            Wanted(("Verified", "True"), phase="Verified", after=300),
            id="other bytes before, the right ones now -> Verified",
        ),
        pytest.param(
            NEW,
            b.PENDULUM,
            Wanted(("InterfaceMismatch", "False"), "spec.interface", "Rejected", after=300),
            id="the manifest names other spaces -> Rejected",
        ),
        pytest.param(
            NEW,
            AWAY,
            Wanted(("StoreUnavailable", "Unknown"), "store:9000", "Pending", after=10),
            id="store does not answer, never verified -> Unknown, asked again soon",
        ),
        pytest.param(
            b.version(verified=False),
            AWAY,
            Wanted(("StoreUnavailable", "Unknown"), after=10),
            id="store does not answer, rejected before -> Unknown, and so not let through",
        ),
    ],
)
def test_plan(version: PolicyVersion, answer: Any, wanted: Wanted) -> None:
    observed = Observed(deployments=[], settings=b.SETTINGS)
    b.check(
        plan(version, observed, b.answers({VerifyArtifact(version.spec.artifact): answer}), NOW), wanted, "Verified"
    )


def test_nobody_starts_to_use_what_cannot_be_read_now() -> None:
    observed = Observed(deployments=[b.agent("cartpole-1")], settings=b.SETTINGS)
    status: Any = plan(b.version(), observed, b.answers({VerifyArtifact: AWAY}), NOW).status
    assert [(c.type, c.status, c.reason) for c in status.conditions] == [("Verified", "Unknown", "StoreUnavailable")]
    assert status.used_by == ["agentdeployment/cartpole"]


GATE = {"name": "errors", "metric": "errors", "test": "NotAbove", "limit": "0.01"}
CANARY = {"steps": [{"weight": 50, "units": 5}], "gates": [GATE]}
PROMOTED = {"seq": 1, "event": "Promoted", "policy": "cartpole-2", "digest": b.digest("2"), "from": "cartpole-1"}
PROMOTED |= {"time": "2026-12-01T12:00:00Z"}
REJECTED = PROMOTED | {"event": "Rejected", "policy": "cartpole-3", "from": "cartpole-2"}


def watching(on_breach: str, *history: dict[str, Any]) -> AgentDeployment:
    """An agent whose cartpole-2 is watched after its promotion."""
    spec = {"strategy": {"watch": {"onBreach": on_breach}}}
    return b.agent("cartpole-2", stable=b.pointer("cartpole-2"), spec=spec, history=list(history))


@pytest.mark.parametrize(
    ("agent", "uses"),
    [
        pytest.param(b.agent("cartpole-1"), True, id="wants it"),
        pytest.param(b.agent("cartpole-2", stable=b.pointer("cartpole-1")), True, id="acts by it"),
        pytest.param(b.agent("cartpole-2", candidate=b.pointer("cartpole-1").dump()), True, id="checks it"),
        pytest.param(
            b.agent("cartpole-2", spec={"fallback": {"policyVersion": "cartpole-1"}}), True, id="falls back to it"
        ),
        pytest.param(
            b.agent("cartpole-2", spec=b.override("Pin", policyVersion="cartpole-1")), True, id="is pinned to it"
        ),
        pytest.param(
            b.agent("cartpole-2", spec=b.override("Pin", until=NOW, policyVersion="cartpole-1")),
            True,
            id="was pinned to it, and still says so",
        ),
        pytest.param(
            b.agent("cartpole-2", spec={"strategy": {"canary": CANARY, "reference": "cartpole-1"}}),
            True,
            id="judges others against it",
        ),
        pytest.param(watching("Rollback", PROMOTED, REJECTED), True, id="would go back to it"),
        pytest.param(watching("Report", PROMOTED, REJECTED), False, id="would only report a breach"),
        pytest.param(
            watching("Rollback", PROMOTED, PROMOTED | {"from": "cartpole-3"}), False, id="would go back to another one"
        ),
        pytest.param(watching("Rollback", PROMOTED | {"policy": "cartpole-3"}), False, id="was brought back from it"),
        pytest.param(b.agent("cartpole-2", stable=b.pointer("cartpole-2")), False, id="has nothing to do with it"),
        pytest.param(
            b.agent("cartpole-2", rejected=[{"name": "cartpole-1", "reason": "Slow"}]), False, id="rejected it"
        ),
    ],
)
@pytest.mark.parametrize("answer", [b.CARTPOLE, CHANGED, AWAY, b.PENDULUM], ids=["good", "changed", "away", "misfit"])
def test_used_by(agent: AgentDeployment, uses: bool, answer: Any) -> None:
    observed = Observed(deployments=[agent], settings=b.SETTINGS)
    status: Any = plan(NEW, observed, b.answers({VerifyArtifact: answer}), NOW).status
    assert status.used_by == (["agentdeployment/cartpole"] if uses else [])


def test_used_by_is_sorted_and_bounded() -> None:
    many = [
        b.agent().model_copy(update={"metadata": b.agent().metadata.model_copy(update={"name": f"agent-{i:03}"})})
        for i in reversed(range(USED_BY_LIMIT + 1))
    ]
    status: Any = plan(NEW, Observed(many, b.SETTINGS), b.answers({VerifyArtifact: b.CARTPOLE}), NOW).status
    assert status.used_by == [f"agentdeployment/agent-{i:03}" for i in range(USED_BY_LIMIT)]
