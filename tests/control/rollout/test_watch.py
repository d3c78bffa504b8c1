"""After a promotion stable is held to its own record."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from tests.control import builders as b
from tests.control.rollout.life import RETURN, Life, canary

from checkrein.api import conditions

CANARY = canary({"weight": 50, "units": 4}, gates=[RETURN])


def promoted(on_breach: str = "Rollback", **fields: Any) -> Life:
    """cartpole-2 is stable, with cartpole-1 before it."""
    watch = {"drop": "0.1", "alpha": "0.01", "onBreach": on_breach}
    life = Life("cartpole-1", spec={"strategy": {"canary": CANARY, "watch": watch}}, fresh=True, **fields)
    life.look()
    life.edit(policyVersion="cartpole-2")
    life.until(lambda s: s.stable.name == "cartpole-2")
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
