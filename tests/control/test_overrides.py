"""Plans for AgentDeployments under an override: it is told, the rollout waits, and its end is not missed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.control import builders as b
from tests.control.builders import NOW, Wanted
from tests.control.test_rollout import BOTH, LOADED, ONE, SLOW, TWO, decide, everywhere, replicas

from checkrein.api import conditions
from checkrein.api.deployment import AgentDeployment
from checkrein.api.meta import Condition
from checkrein.control.conditions import Transition, transitions

FALLBACK = b.override()
PIN = b.override("Pin", policyVersion="cartpole-2")
STOP = b.override("Stop", until=None)
OVER = b.override(until=NOW)
HELD = b.condition("Overridden", True, "Fallback", "before")


def second(spec: dict[str, Any], **status: Any) -> AgentDeployment:
    """cartpole-1 decides, cartpole-2 is wanted."""
    return b.agent("cartpole-2", stable=ONE, epoch=3, spec=spec, **status)


def said(agent: AgentDeployment, type_: str = "Overridden", **fields: Any) -> tuple[str, str, str] | None:
    """Status, reason and message of a condition in the plan."""
    found = conditions.get(decided(agent, **fields).conditions, type_)
    return (found.status, found.reason, found.message) if found else None


def decided(agent: AgentDeployment, **fields: Any) -> Any:
    return decide(agent, LOADED, **fields).status


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        pytest.param(second({}), None, id="there never was one -> no condition"),
        pytest.param(
            second(FALLBACK),
            ("True", "Fallback", "Fallback by ops@example.com until 2026-01-01T12:05:00Z: sensor fault"),
            id="it holds",
        ),
        pytest.param(
            second(PIN), ("True", "Pin", "Pin cartpole-2 by ops@example.com until 2026-01-01T12:05:00Z"), id="a pin"
        ),
        pytest.param(
            second(b.override("Action", action=[1, 0.5])), ("True", "Action", "Action [1.0, 0.5] by"), id="an action"
        ),
        pytest.param(
            second(STOP), ("True", "Stop", "Stop by ops@example.com until it is taken away: sensor fault"), id="no end"
        ),
        pytest.param(second(OVER), ("False", "Expired", "its time is over; automation decides again"), id="its end"),
        pytest.param(
            second({}, conditions=HELD), ("False", "Lifted", "was taken away; automation decides again"), id="lifted"
        ),
    ],
)
def test_an_override_is_told(agent: AgentDeployment, expected: tuple[str, str, str] | None) -> None:
    told = said(agent)
    if expected is None:
        assert told is None
    else:
        assert told
        assert told[:2] == expected[:2]
        assert expected[2] in told[2]


def test_a_long_action_leaves_room_for_the_reason() -> None:
    told = said(second(b.override("Action", action=[0.123456] * 1024)))
    assert told
    assert told[2].endswith(": sensor fault")


@pytest.mark.parametrize(
    ("agent", "wanted"),
    [
        pytest.param(
            second(FALLBACK),
            Wanted(
                ("Overridden", "False"),
                "cartpole-2 waits until spec.override ends",
                "Overridden",
                after=30,
                status={"stable": ONE.dump(), "candidate": None, "epoch": 3},
            ),
            id="loaded everywhere, but a person holds the reins -> nothing moves",
        ),
        pytest.param(
            second(FALLBACK, candidate=TWO.dump()),
            Wanted(("Overridden", "False"), after=30, status={"candidate": TWO.dump(), "epoch": 3}),
            id="the check stands where it was",
        ),
        pytest.param(
            second(FALLBACK, candidate=b.pointer("cartpole-3", "3").dump()),
            Wanted(("Overridden", "False"), after=30, status={"candidate": None, "epoch": 3}),
            id="a candidate that nobody wants any more is dropped",
        ),
        pytest.param(
            second(OVER, candidate=TWO.dump()),
            Wanted(("Complete", "False"), phase="Healthy", after=30, status={"stable": TWO.dump(), "epoch": 4}),
            id="its time is over -> the rollout goes on",
        ),
        pytest.param(
            b.agent("cartpole-1", stable=ONE, spec=FALLBACK),
            Wanted(("Complete", "False"), "cartpole-1 decides", "Overridden", after=30),
            id="nothing to roll out",
        ),
        pytest.param(
            second(b.override(until=NOW + timedelta(seconds=7))),
            Wanted(("Overridden", "False"), after=7),
            id="its end is looked at when it comes",
        ),
        pytest.param(
            second(STOP), Wanted(("Overridden", "False"), phase="Overridden", after=30), id="no end to wait for"
        ),
    ],
)
def test_the_rollout_waits(agent: AgentDeployment, wanted: Wanted) -> None:
    b.check(decide(agent, LOADED), wanted, "Progressing")


@pytest.mark.parametrize(
    ("agent", "pods", "expected"),
    [
        pytest.param(second(FALLBACK), BOTH, ("True", "Overridden", "Overridden"), id="it decides"),
        pytest.param(second(STOP), BOTH, ("False", "Stopped", "Overridden"), id="nobody decides"),
        pytest.param(
            second(FALLBACK), replicas("10.0.0.1", ready=False), ("False", "NoReplicaReady", "Degraded"), id="it cannot"
        ),
        pytest.param(
            b.agent("cartpole-1", spec=PIN), BOTH, ("True", "Overridden", "Overridden"), id="before any first policy"
        ),
    ],
)
def test_readiness(agent: AgentDeployment, pods: Any, expected: tuple[str, str, str]) -> None:
    status = decided(agent, pods=pods)
    ready = conditions.get(status.conditions, "Ready")
    assert ready
    assert (ready.status, ready.reason, status.phase) == expected


def told(before: dict[str, Any], after: dict[str, Any], **status: Any) -> list[Transition]:
    """Events about the override when the spec changes from one to the other."""
    then: list[Condition] = decided(second(before, **status)).conditions
    raw = [c.model_dump(mode="json", by_alias=True) for c in then]
    now: list[Condition] = decided(second(after, conditions=raw)).conditions

    def only(listed: list[Condition]) -> list[Condition]:
        return [c for c in listed if c.type == "Overridden"]

    return transitions(only(then), only(now))


@pytest.mark.parametrize(
    ("after", "words"),
    [
        pytest.param(b.override(by="eve@example.com"), "by eve@example.com", id="another person"),
        pytest.param(b.override(reason="still"), ": still", id="another reason"),
        pytest.param(b.override(until=NOW + timedelta(hours=1)), "until 2026-01-01T13:00:00Z", id="another end"),
        pytest.param(PIN, "Pin cartpole-2", id="another mode"),
        pytest.param(STOP, "Stop by", id="stop"),
        pytest.param(OVER, "its time is over", id="its end"),
        pytest.param({}, "taken away", id="lifted"),
    ],
)
def test_each_change_is_an_event(after: dict[str, Any], words: str) -> None:
    [event] = told(FALLBACK, after)
    assert event.type == "Normal"
    assert words in event.message


def test_an_override_that_stands_is_no_news() -> None:
    assert told(FALLBACK, FALLBACK) == []


def test_from_one_pin_to_another_is_an_event() -> None:
    [event] = told(PIN, b.override("Pin", policyVersion="cartpole-1"))
    assert "Pin cartpole-1" in event.message


def test_a_rejected_version_stays_rejected_under_an_override() -> None:
    rejected = decide(second({}), everywhere(SLOW)).status
    assert isinstance(rejected, type(second({}).status))
    agent = second(FALLBACK).model_copy(update={"status": rejected})
    assert [r.name for r in decided(agent).rejected] == ["cartpole-2"]
