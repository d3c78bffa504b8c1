"""`kubectl describe` tells the walk: an Event for each step and weight, none said twice."""

from __future__ import annotations

import pytest
from tests.control.rollout.life import Life, canary, strategy

from checkrein.control.conditions import transitions

STEPS = [{"weight": 5, "units": 1}, {"weight": 25, "units": 1}, {"weight": 50, "pause": {}}]
HELD = [{"weight": 5, "units": 100_000}]


def told(life: Life, passes: int, until: str = "") -> list[tuple[str, str]]:
    """Reason and message of the Events of so many passes."""
    found: list[tuple[str, str]] = []
    for _ in range(passes):
        before = life.status
        after = life.look(3)
        events = (*transitions(before.conditions, after.conditions), *life.plan.news)
        found += [(e.reason, e.message) for e in events if "new units" in e.message]
        if until and found and until in found[-1][1]:
            break
        life.play(20)
    return found


def test_every_step_is_told_once() -> None:
    life = Life(spec=strategy(canary=canary(*STEPS)))
    assert told(life, 60, "until a person") == [
        ("Canary", "cartpole-2: step 1 of 3 begins, 5 % of new units"),
        ("CanaryStep", "cartpole-2: step 2 of 3, 25 % of new units, before 5 %"),
        ("CanaryStep", "cartpole-2: step 3 of 3, 50 % of new units, before 25 %"),
        (
            "WaitingForPerson",
            "cartpole-2: step 3 of 3, 50 % of new units: pauses until a person goes on (spec.rollout.approve.step: 3)",
        ),
    ]


@pytest.mark.parametrize("paused", [False, True], ids=["under way", "while it is held"])
def test_an_edited_weight_is_told(paused: bool) -> None:
    life = Life(spec=strategy(canary=canary(*HELD)))
    told(life, 4)
    life.edit(strategy={"canary": canary({**HELD[0], "weight": 20})}, rollout={"paused": paused})
    assert told(life, 4) == [("CanaryStep", "cartpole-2: step 1 of 1, 20 % of new units, before 5 %")]


def test_a_walk_that_stands_still_tells_nothing() -> None:
    life = Life(spec=strategy(canary=canary(*HELD)))
    told(life, 4)
    assert told(life, 10) == []
