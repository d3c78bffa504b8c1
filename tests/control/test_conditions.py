"""Conditions, and which of their changes are news."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.control.builders import NOW, agent, ago, condition, meta

from checkrein.api.meta import Condition, ObjectMeta
from checkrein.control.conditions import Transition, Writer, transitions


def listed(type_: str, status: bool | None, reason: str, message: str = "m") -> list[Condition]:
    return [Condition.model_validate(c) for c in condition(type_, status, reason, message)]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        pytest.param([], listed("Ready", True, "Probed"), [("Normal", "Probed")], id="first"),
        pytest.param(listed("Ready", True, "Probed"), listed("Ready", True, "Probed"), [], id="no change"),
        pytest.param(listed("Ready", False, "A", "1"), listed("Ready", False, "A", "2"), [], id="other words only"),
        pytest.param(
            listed("Complete", False, "Training"),
            listed("Complete", False, "Retrying"),
            [("Warning", "Retrying")],
            id="trouble",
        ),
        pytest.param(
            listed("Complete", False, "Retrying"),
            listed("Complete", False, "Training"),
            [("Normal", "Training")],
            id="trouble is over",
        ),
        pytest.param(
            listed("Overridden", True, "Fallback", "by ops"),
            listed("Overridden", True, "Fallback", "by eve"),
            [("Normal", "Fallback")],
            id="other words about an override",
        ),
        pytest.param(
            listed("Logging", True, "Durable"),
            listed("Logging", False, "LogNotDurable"),
            [("Warning", "LogNotDurable")],
            id="a log that fails",
        ),
        pytest.param([], listed("Verified", None, "StoreUnavailable"), [("Warning", "StoreUnavailable")], id="unknown"),
        pytest.param(
            listed("Progressing", True, "Loading"),
            listed("Progressing", False, "Complete"),
            [("Normal", "Complete")],
            id="a rollout's good end",
        ),
        pytest.param(
            listed("Progressing", True, "Loading"),
            listed("Progressing", False, "WarmUpFailed"),
            [("Warning", "WarmUpFailed")],
            id="a rollout's bad end",
        ),
        pytest.param(
            [],
            [*listed("Complete", False, "GateNotMet"), *listed("Failed", True, "GateNotMet")],
            [("Warning", "GateNotMet")],
            id="one end, told once",
        ),
        pytest.param(
            [],
            [*listed("Complete", True, "Published"), *listed("Failed", False, "Published")],
            [("Normal", "Published")],
            id="one good end, told once",
        ),
    ],
)
def test_transitions(before: list[Condition], after: list[Condition], told: list[tuple[str, str]]) -> None:
    assert [(t.type, t.reason) for t in transitions(before, after)] == told


def test_a_transition_carries_the_sentence() -> None:
    assert transitions([], listed("Ready", True, "Probed", "all is well")) == [
        Transition("Normal", "Probed", "all is well")
    ]


def put(value: bool | None, reason: str) -> Any:
    status = agent(conditions=condition("Ready", False, "NoPolicy")).status
    later = Writer(ObjectMeta.model_validate(meta("cartpole", generation=4)), NOW + timedelta(microseconds=5))
    return later.put(status, "Ready", value, reason, "m", phase="Healthy")


@pytest.mark.parametrize(
    ("value", "reason", "since"),
    [
        pytest.param(True, "Deciding", NOW, id="the status changes -> now, in whole seconds"),
        pytest.param(False, "NoReplicaReady", ago(60), id="the reason changes -> since before"),
    ],
)
def test_last_transition_time_moves_with_the_status_only(value: bool, reason: str, since: Any) -> None:
    [found] = put(value, reason).conditions
    assert (found.reason, found.last_transition_time) == (reason, since)


def test_a_condition_speaks_of_the_generation_that_it_was_said_of() -> None:
    status = put(True, "Deciding")
    assert (status.observed_generation, status.conditions[0].observed_generation, status.phase) == (4, 4, "Healthy")
