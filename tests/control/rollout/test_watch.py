"""After a promotion stable is held to its own record."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from tests.control import builders as b
from tests.control.rollout.life import ERRORS, RETURN, Life, canary

from checkrein.api import conditions

CANARY = canary({"weight": 50, "units": 4}, gates=[RETURN])
COST = {"name": "cost", "metric": "cost", "test": "NotAbove", "limit": "50"}
MEASURED = canary({"weight": 50, "units": 4}, gates=[RETURN, ERRORS, COST])
WATCH = {"drop": "0.1", "alpha": "0.01"}
ALL = {"errors": "0.1", "cost": {"rise": "5", "maximum": "100"}}


def promoted(on_breach: str = "Rollback", canary: Any = CANARY, watch: Any = None, **played: Any) -> Life:
    """cartpole-2 is stable, with cartpole-1 before it."""
    watched = {**WATCH, "onBreach": on_breach, **(watch or {})}
    life = Life("cartpole-1", spec={"strategy": {"canary": canary, "watch": watched}}, fresh=True)
    life.look()
    life.edit(policyVersion="cartpole-2")
    life.until(lambda s: s.stable.name == "cartpole-2", **played)
    return life


def holds(life: Life) -> tuple[str, str] | None:
    found = conditions.get(life.status.conditions, "StableHolds")
    return (found.reason, found.status) if found else None


def test_one_that_does_as_well_as_before_holds() -> None:
    life = promoted()
    for _ in range(30):
        life.look(3)
        life.play(4)
    assert holds(life) == ("Holds", "True")
    assert life.status.watch
    assert (life.status.watch.baseline, life.status.watch.units > 100) == (Decimal(450), True)


def test_one_that_does_much_worse_is_rolled_back_if_that_was_allowed() -> None:
    life = promoted()
    life.until(lambda s: s.stable.name == "cartpole-1", stable=200.0)
    status = life.status
    assert [(e.event, e.policy, e.since, e.by) for e in status.history][-2:] == [
        ("Rejected", "cartpole-2", "cartpole-1", ""),
        ("RolledBack", "cartpole-1", "cartpole-2", ""),
    ]
    life.look(3)
    assert (life.acting, life.said()[0], life.status.candidate) == ("cartpole-1", "WatchBreached", None)
    for _ in range(40):
        life.look(3)
        life.play(4, stable=0.0)
    assert (life.acting, holds(life)) == ("cartpole-1", ("Breached", "False")), "never back and forth"


def test_or_it_is_only_told() -> None:
    life = promoted("Report")
    life.until(lambda s: holds(life) == ("Breached", "False"), stable=200.0)
    life.look(3)
    assert (life.acting, life.said()[0]) == ("cartpole-2", "Complete")


def test_the_one_before_is_loaded_first() -> None:
    life = promoted()
    for replica in life.replicas:
        replica.loaded = [("cartpole-2", "2")]
    life.until(lambda s: s.candidate is not None, stable=200.0)
    assert (life.acting, life.status.rejected, life.said()[0]) == ("cartpole-2", [], "Loading")
    for replica in life.replicas:
        replica.loaded.append(("cartpole-1", "1"))
    assert life.look(1).stable.name == "cartpole-1"  # type: ignore[union-attr]


def test_one_that_may_not_act_is_not_rolled_back_to() -> None:
    life = promoted()
    life.versions["cartpole-1"] = b.version("cartpole-1", verified=False)
    life.until(lambda s: holds(life) == ("Breached", "False"), stable=0.0)
    life.look(3)
    assert life.acting == "cartpole-2"


def test_what_an_override_did_is_not_stables() -> None:
    life = promoted()
    for _ in range(40):
        life.look(3)
        life.play(4, stable=0.0, overridden=1)
    assert holds(life) == ("Holds", "True")


def test_a_first_policys_record_is_its_evaluation() -> None:
    life = Life("cartpole-1", spec={"strategy": {"watch": {"drop": "0.1"}}}, fresh=True)
    life.look()
    life.look(3)
    assert life.status.watch
    assert life.status.watch.baseline == Decimal("498.00")


@pytest.mark.parametrize("bounds", [None])
def test_without_bounds_there_is_no_record_to_hold_it_to(bounds: None) -> None:
    life = Life("cartpole-1", spec={"strategy": {"watch": {"drop": "0.1"}}}, bounds=bounds)
    life.look()
    assert holds(life) == ("NoRecord", "Unknown")


def test_nothing_is_written_while_nothing_happens() -> None:
    life = promoted()
    life.look(3)
    life.look(3)
    before = life.status
    life.look(30)
    assert life.status == before


def test_without_watch_there_is_no_condition() -> None:
    life = promoted()
    life.look(3)
    life.edit(strategy={"canary": CANARY})
    life.look(3)
    assert (holds(life), life.status.watch) == (None, None)


@pytest.mark.parametrize(
    ("played", "words"),
    [
        pytest.param({"failed": 4}, "more of its decisions fail than on its own record", id="errors"),
        pytest.param({"cost": 60.0}, "its mean cost has risen above its own record", id="costs"),
        pytest.param({"cost": 60.0, "stable": 200.0}, "its mean return has fallen below its own record", id="returns"),
    ],
)
def test_whatever_gets_worse_is_rolled_back(played: dict[str, Any], words: str) -> None:
    life = promoted(canary=MEASURED, watch=ALL, cost=10.0)
    life.until(lambda s: s.stable.name == "cartpole-1", **{"cost": 10.0, **played})
    entry = life.status.history[-2]
    assert (entry.event, entry.policy, entry.reason) == ("Rejected", "cartpole-2", "WatchBreached")
    assert words in entry.message


def test_errors_and_costs_as_on_its_record_hold() -> None:
    life = promoted(canary=MEASURED, watch=ALL, cost=10.0)
    for _ in range(30):
        life.look(3)
        life.play(4, cost=12.0)
    assert holds(life) == ("Holds", "True")
    assert life.status.watch
    told = {o.metric: (o.baseline, o.recent) for o in life.status.watch.others}
    assert told == {"errors": (Decimal(0), Decimal(0)), "cost": (Decimal(10), Decimal(12))}


def test_a_cost_that_no_gate_measured_is_not_watched_and_it_says_so() -> None:
    life = promoted(watch=ALL)
    life.look(3)
    said = conditions.get(life.status.conditions, "StableHolds")
    assert said
    assert said.status == "True"
    assert "spec.strategy.watch.cost: cartpole-2 has no record of its cost" in said.message
    life.until(lambda s: s.stable.name == "cartpole-1", failed=5)


def test_errors_are_watched_where_returns_cannot_be() -> None:
    life = Life("cartpole-1", spec={"strategy": {"watch": {**WATCH, "errors": "0.1"}}}, bounds=None, fresh=True)
    life.look()
    life.until(lambda s: holds(life) == ("Breached", "False"), failed=5)


def test_a_rise_that_cannot_be_shown_is_refused() -> None:
    life = promoted(canary=MEASURED, watch={"cost": {"rise": "5", "maximum": "12"}}, cost=10.0)
    life.look(3)
    said = conditions.get(life.status.conditions, "StableHolds")
    assert said
    assert "nothing lies above 10 and 5 more: choose a smaller rise or a greater maximum" in said.message


def test_another_question_begins_anew_with_the_same_record() -> None:
    life = promoted("Report")
    life.until(lambda s: holds(life) == ("Breached", "False"), stable=350.0)
    strategy = {"canary": CANARY, "watch": {**WATCH, "alpha": "0.01", "drop": "0.5"}}
    life.edit(strategy=strategy)
    life.look(3)
    for _ in range(10):
        life.play(4, stable=350.0)
        life.look(3)
    assert holds(life) == ("Holds", "True")
    assert life.status.watch
    assert life.status.watch.baseline == Decimal(450)
