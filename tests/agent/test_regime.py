"""Who may decide: a person beats the rollout, and the fallback steps in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.agent.test_state import policy

from checkrein.agent.policies import Policy
from checkrein.agent.regime import Choice, active, choices, limited
from checkrein.api.deployment import AgentDeploymentSpec

STABLE, SAFE = policy("p-2"), policy("p-1")
PERSON = {"reason": "a sensor fault", "by": "ops", "until": "2026-12-01T12:00:00Z"}
NOON = datetime(2026, 12, 1, 12, tzinfo=UTC).timestamp()
BOTH = {"policyVersion": "p-1", "action": [1]}


def spec(**fields: Any) -> AgentDeploymentSpec:
    return AgentDeploymentSpec.model_validate({"policyVersion": "p-2", **fields})


def named(name: str) -> Policy | None:
    return {"p-1": SAFE, "p-2": STABLE}.get(name)


def shown(made: tuple[Choice, ...]) -> list[str]:
    return [f"{c.regime} {c.policy.name if c.policy else c.action.tolist()}" for c in made]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("fields", "standing", "wanted"),
    [
        pytest.param({}, STABLE, ["Policy p-2"], id="the policy decides"),
        pytest.param({}, None, [], id="nobody decides before one is loaded"),
        pytest.param(
            {"fallback": BOTH}, STABLE, ["Policy p-2", "Fallback p-1", "Fallback [1.0]"], id="version before action"
        ),
        pytest.param(
            {"fallback": BOTH}, None, ["Fallback p-1", "Fallback [1.0]"], id="the fallback where stable is not"
        ),
        pytest.param(
            {"fallback": {"policyVersion": "p-9", "action": [0]}},
            STABLE,
            ["Policy p-2", "Fallback [0.0]"],
            id="a fallback that is not loaded is passed over",
        ),
        pytest.param(
            {"fallback": BOTH, "override": {"mode": "Fallback"}},
            STABLE,
            ["Fallback p-1", "Fallback [1.0]"],
            id="Fallback: the stable policy is out",
        ),
        pytest.param(
            {"override": {"mode": "Pin", "policyVersion": "p-1"}}, STABLE, ["Pin p-1"], id="Pin: that version decides"
        ),
        pytest.param(
            {"fallback": {"action": [1]}, "override": {"mode": "Pin", "policyVersion": "p-9"}},
            STABLE,
            ["Fallback [1.0]"],
            id="Pin of one that is not loaded yet: never the old regime",
        ),
        pytest.param(
            {"override": {"mode": "Pin", "policyVersion": "p-9"}}, STABLE, [], id="Pin without anybody: no decision"
        ),
        pytest.param(
            {"fallback": {"action": [0]}, "override": {"mode": "Action", "action": [1]}},
            STABLE,
            ["Action [1.0]", "Fallback [0.0]"],
            id="Action: the one, and what may replace it",
        ),
        pytest.param({"fallback": BOTH, "override": {"mode": "Stop"}}, STABLE, [], id="Stop: nobody"),
    ],
)
def test_who_may_act_in_order(fields: dict[str, Any], standing: Policy | None, wanted: list[str]) -> None:
    if "override" in fields:
        fields = {**fields, "override": PERSON | fields["override"]}
    made = spec(**fields)
    assert shown(choices(made, active(made, lambda end: end <= NOON - 1), standing, named)) == wanted


@pytest.mark.parametrize(
    ("override", "now", "holds"),
    [
        pytest.param({"mode": "Pin", "policyVersion": "p-1"}, NOON - 0.001, True, id="before its end"),
        pytest.param({"mode": "Pin", "policyVersion": "p-1"}, NOON, False, id="at its end"),
        pytest.param({"mode": "Stop", "until": None}, NOON * 2, True, id="a Stop without end"),
        pytest.param({"mode": "Stop"}, NOON, False, id="a Stop with one"),
    ],
)
def test_an_override_ends_by_itself(override: dict[str, Any], now: float, holds: bool) -> None:
    assert (active(spec(override=PERSON | override), lambda end: end <= now) is not None) is holds


def test_over_the_limit_the_fallback_action_only_where_asked_for() -> None:
    assert limited(spec(fallback=BOTH, limits={"decisionsPerSecond": 1})) == ()
    asked = spec(fallback=BOTH, limits={"decisionsPerSecond": 1, "exceeded": "Fallback"})
    assert shown(limited(asked)) == ["Limit [1.0]"]
