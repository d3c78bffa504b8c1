"""People change their minds and machines fail, in the middle of a rollout: each has one obvious outcome."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.control import builders as b
from tests.control.rollout.life import ERRORS, RETURN, Life, World, canary, strategy

from checkrein.api import conditions
from checkrein.api.deployment import AgentDeploymentStatus
from checkrein.api.rollout import HistoryEntry
from checkrein.control.plan import Answers, Unanswered
from checkrein.control.reconciler import MOST_ROUNDS
from checkrein.control.requests import ReadEvidence
from checkrein.control.rollout import plan

LONG = strategy(canary=canary({"weight": 50, "units": 1000}, {"weight": 90, "units": 1000}))
QUICK = strategy(canary=canary({"weight": 50, "units": 4}, gates=[RETURN]))


def under_way(spec: dict[str, Any] = LONG, looks: int = 2, **fields: Any) -> Life:
    """cartpole-2 is in its first step, with some evidence."""
    life = Life(spec=spec, **fields)
    life.look()
    for _ in range(looks):
        life.play(4)
        life.look(3)
    assert life.weight
    return life


def scored(life: Life) -> int:
    return life.status.rollout.scored if life.status.rollout else 0


# --- another version is asked for


def test_another_version_takes_the_candidates_place_without_a_verdict() -> None:
    life = under_way()
    life.edit(policyVersion="cartpole-3")
    status = life.look(3)
    assert (status.candidate.name, status.rollout.id, scored(life)) == ("cartpole-3", "cartpole-3.1", 0)  # type: ignore[union-attr]
    assert (status.rejected, status.history) == ([], [])


def test_back_to_stable_drops_the_candidate_at_once() -> None:
    life = under_way()
    life.edit(policyVersion="cartpole-1")
    status = life.look()
    assert (status.candidate, status.step, status.epoch, life.said()[0]) == (None, None, 5, "Complete")
    assert status.rejected == []


def test_a_candidate_that_comes_back_is_a_new_try() -> None:
    """Its id is in tokens and logs: the same one must not come twice, nor its alpha."""
    life = under_way()
    for name in ("cartpole-3", "cartpole-2"):
        life.edit(policyVersion=name)
        life.look(3)
    assert life.status.rollout
    assert (life.status.rollout.id, life.status.rollout.attempt) == ("cartpole-2.2", 2)


# --- the strategy is edited


def test_weights_edited_move_on_from_where_it_was() -> None:
    life = under_way()
    before = scored(life)
    life.edit(**strategy(canary=canary({"weight": 20, "units": 1000}, {"weight": 90, "units": 1000})))
    status = life.look(3)
    assert (life.weight, status.epoch, scored(life), status.rollout.id) == (20, 5, before, "cartpole-2.1")  # type: ignore[union-attr]


def test_steps_taken_away_leave_it_in_the_last_one() -> None:
    life = under_way()
    life.say(approve={"policyVersion": "cartpole-2", "step": 1, "by": "ops"})
    life.look(3)
    assert life.status.step.index == 2  # type: ignore[union-attr]
    life.edit(**strategy(canary=canary({"weight": 30, "units": 1000})))
    assert (life.look(3).step.index, life.weight) == (1, 30)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(strategy(canary=canary({"weight": 50, "units": 1000}, gates=[RETURN])), id="a gate taken away"),
        pytest.param(
            strategy(unit="Client", window="1h", canary=canary({"weight": 50, "units": 1000})), id="another design"
        ),
    ],
)
def test_other_gates_are_another_try(spec: dict[str, Any]) -> None:
    life = under_way()
    life.edit(**spec)
    status = life.look(3)
    assert (status.rollout.id, scored(life), status.step.index) == ("cartpole-2.2", 0, 1)  # type: ignore[union-attr]
    assert {g.units for g in status.gates} == {0}
    assert status.rejected == []


def test_a_strategy_taken_away_asks_for_nothing_more() -> None:
    life = under_way()
    life.edit(strategy=None)
    status = life.look(3)
    assert (life.acting, status.step, status.history[-1].reason) == ("cartpole-2", None, "Checked")


def test_what_cannot_be_shown_any_more_is_taken_off() -> None:
    life = under_way()
    life.environments.clear()
    status = life.look(3)
    assert (life.said()[:2], status.candidate, status.epoch) == (("EnvironmentNotFound", "False"), None, 5)
    assert status.rejected == []
    life.environments["cartpole"] = b.ready_environment()
    assert life.look(3).rollout.id == "cartpole-2.2"  # type: ignore[union-attr]


@pytest.mark.parametrize("bounds", [None, {"min": "-1", "max": "500"}])
def test_what_cannot_be_shown_never_begins(bounds: Any) -> None:
    life = Life(spec=LONG, bounds=bounds)
    status = life.look()
    assert (life.said()[:2], status.candidate, status.epoch) == (("GateCannotBeShown", "False"), None, 3)


# --- the version goes


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        pytest.param(None, "PolicyVersionNotFound", id="deleted"),
        pytest.param(b.version("cartpole-2", letter="2", verified=False), "PolicyNotVerified", id="its bytes changed"),
    ],
)
def test_a_candidate_that_may_not_act_is_off_at_once_and_not_rejected(version: Any, reason: str) -> None:
    life = under_way()
    life.versions.pop("cartpole-2")
    if version:
        life.versions["cartpole-2"] = version
    status = life.look()
    assert (life.said()[:2], status.candidate, status.epoch) == ((reason, "False"), None, 5)
    assert (life.acting, status.rejected) == ("cartpole-1", [])
    life.versions["cartpole-2"] = b.version("cartpole-2", letter="2")
    assert life.look().rollout.id == "cartpole-2.2"  # type: ignore[union-attr]


def test_other_bytes_under_the_name_are_another_candidate() -> None:
    life = under_way()
    life.versions["cartpole-2"] = b.version("cartpole-2", letter="9")
    status = life.look()
    assert (life.said()[0], life.weight, status.epoch) == ("Loading", 0, 5)


# --- an override


def test_under_an_override_nothing_moves_and_no_time_passes() -> None:
    life = under_way(strategy(canary=canary({"weight": 50, "units": 1000}, maxDuration="1h")))
    life.edit(**b.override(until=life.now + timedelta(hours=9)))
    life.look(3)
    assert (life.said()[:2], life.weight) == (("Overridden", "False"), 50)
    life.look(8 * 3600)
    assert life.status.candidate
    life.edit(override=None)
    life.look(1)
    assert (life.said()[0], life.weight, life.status.rollout.id) == ("Canary", 50, "cartpole-2.1")  # type: ignore[union-attr]


def test_nothing_is_promoted_under_an_override() -> None:
    life = under_way(QUICK)
    for _ in range(20):
        life.play(4)
        life.pass_(3)
    life.edit(**b.override(until=life.now + timedelta(minutes=5)))
    life.look(3)
    assert (life.acting, life.status.gates[0].verdict) == ("cartpole-1", "Pass")
    life.look(301)
    assert life.acting == "cartpole-2"


def test_episodes_that_an_override_cut_count_for_nobody() -> None:
    life = under_way(QUICK, looks=1)
    for _ in range(20):
        life.play(2, candidate=0.0, overridden=3)
        life.look(3)
    assert life.status.candidate, "what a person did is not held against it"
    assert life.status.gates[0].verdict == "Continue"
    assert life.status.rollout
    assert life.status.rollout.findings["unknown"] == 80


# --- replicas


def test_to_zero_and_back() -> None:
    life = under_way()
    before = scored(life)
    life.edit(replicas=0)
    for replica in list(life.replicas):
        life.kill(replica)
    life.look(3)
    assert (life.said()[0], life.status.candidate is not None) == ("ScaledToZero", True)
    life.look(10**6)
    life.edit(replicas=2)
    life.boot()
    life.boot()
    life.look(3)
    life.play(4)
    life.look(3)
    assert (life.said()[0], life.status.rollout.id) == ("Canary", "cartpole-2.1")  # type: ignore[union-attr]
    assert scored(life) == before + 4


def test_what_a_vanished_replica_had_stored_is_counted() -> None:
    life = under_way()
    before, lost = scored(life), life.replicas[0]
    life.play(4)
    life.kill(lost)
    life.boot(lost.pod.name)
    life.look(3)
    assert scored(life) == before + 4
    assert not life.status.rollout.findings  # type: ignore[union-attr]


def test_what_is_still_missing_after_two_minutes_counts_as_unknown() -> None:
    life = under_way()
    before, lost = scored(life), life.replicas[0]
    life.start(lost)
    life.kill(lost)
    life.boot(lost.pod.name)
    life.look(3)
    life.look(100)
    assert scored(life) == before
    life.look(30)
    assert scored(life) == before + 1
    assert life.status.rollout.findings["unknown"] == 2  # type: ignore[union-attr]
    after = scored(life)
    life.look(300)
    assert scored(life) == after, "once"


def test_a_replica_that_comes_back_late_is_not_counted_twice() -> None:
    life = under_way()
    silent = life.replicas[0]
    silent.silent, life.stored = True, False
    life.look(3)
    life.look(130)
    before = scored(life)
    silent.silent, life.stored = False, True
    life.look(3)
    assert scored(life) == before


def test_a_container_that_restarts_begins_another_log() -> None:
    life = under_way()
    before, old = scored(life), life.replicas[0]
    life.kill(old)
    life.boot(old.pod.name)
    life.play(2)
    life.look(3)
    assert scored(life) == before + 2
    assert len(life.status.streams) == 3


# --- operator and store


def test_an_operator_that_was_killed_goes_on_from_the_status() -> None:
    """`look` reads the status back as another process would; two lives side by side come to the same."""
    one, two = under_way(), under_way()
    two.agent = two.agent.model_copy(
        update={"status": AgentDeploymentStatus.model_validate_json(two.status.model_dump_json(by_alias=True))}
    )
    for life in (one, two):
        life.play(4)
        life.look(3)
    assert one.status == two.status


def test_a_promotion_waits_for_the_store_and_an_abort_does_not() -> None:
    life = under_way(QUICK)
    life.stored = False
    life.until(lambda s: life.said()[0] == "HistoryUnavailable")
    assert (life.acting, life.said()[1]) == ("cartpole-1", "False")
    life.stored = True
    life.look(3)
    assert (life.acting, [e.stored for e in life.status.history]) == ("cartpole-2", [True])

    worse = under_way(QUICK)
    worse.stored = False
    worse.until(lambda s: s.candidate is None, candidate=0.0)
    assert [(e.event, e.stored) for e in worse.status.history] == [("Rejected", False)]
    worse.stored = True
    assert [e.stored for e in worse.look(3).history] == [True]
    assert [e.event for e in worse.store] == ["Rejected"]


def test_two_deployments_of_one_policy_do_not_disturb_each_other() -> None:
    good, bad = under_way(QUICK), under_way(QUICK, seed=1)
    bad.until(lambda s: s.candidate is None, candidate=0.0)
    good.until(lambda s: s.candidate is None)
    assert (good.acting, bad.acting) == ("cartpole-2", "cartpole-1")


def test_exploration_changes_nothing_about_the_walk() -> None:
    life = under_way({**QUICK, "exploration": {"epsilonGreedy": {"epsilon": "0.1"}}})
    life.until(lambda s: s.candidate is None)
    assert life.acting == "cartpole-2"


def test_a_shadow_may_come_and_go() -> None:
    life = Life(spec=strategy(shadow={"units": 50}, canary=canary(gates=[RETURN, ERRORS])))
    life.look()
    life.edit(**strategy(canary=canary(gates=[RETURN, ERRORS])))
    assert life.look(3).step.kind == "Canary"  # type: ignore[union-attr]
    life.edit(**strategy(shadow={"units": 50}, canary=canary(gates=[RETURN, ERRORS])))
    assert life.look(3).step.kind == "Canary"  # type: ignore[union-attr]


def test_evidence_is_asked_for_where_it_is_needed_only() -> None:
    life = Life("cartpole-1", spec=LONG)
    asked: list[Any] = []

    class Spy(dict[Any, Any]):
        def __contains__(self, request: object) -> bool:
            asked.append(request)
            return True

        def __getitem__(self, request: Any) -> Any:
            return b.loaded(("cartpole-1", "1")) if type(request).__name__ == "ReadAgent" else "x"

    plan(life.agent, life.observed(), Answers(Spy()), life.now)
    assert not [r for r in asked if isinstance(r, ReadEvidence)]
    assert conditions.get(life.status.conditions, "StableHolds") is None


def test_a_pass_asks_in_few_rounds() -> None:
    """As the reconciler does it: it answers what was asked, and calls the planner again from its start."""
    life = under_way(QUICK)
    life.stored = False
    life.until(lambda s: life.said()[0] == "HistoryUnavailable")
    life.stored = True
    unstored = HistoryEntry(seq=1, event="Rejected", policy="cartpole-3", digest=b.digest("3"), time=b.NOW)
    entries = [unstored.model_copy(update={"seq": n, "time": b.ago(100 - n)}) for n in range(9)]
    life.agent = life.agent.model_copy(update={"status": life.status.model_copy(update={"history": entries})})
    old = life.replicas[0]
    life.kill(old)
    life.boot(old.pod.name)
    life.pass_(3)
    for _ in range(3):
        answers, world = Answers(), World(life)
        for _ in range(MOST_ROUNDS):
            try:
                planned = plan(life.agent, life.observed(), answers, life.now)
                break
            except Unanswered as asked:
                answers.known.update({r: world[r] for r in asked.requests})
        else:
            raise AssertionError(answers.known)
        life.agent = life.agent.model_copy(update={"status": planned.status})
    assert life.acting == "cartpole-2"
    assert all(e.stored for e in life.status.history)


# --- the key that tells arms


def test_without_the_key_that_tells_arms_evidence_waits_and_no_unit_is_lost() -> None:
    life = under_way()
    before, key = scored(life), life.key
    life.key = b""
    for _ in range(5):
        life.play(4)
        life.look(3)
    assert (scored(life), life.said()[:2]) == (before, ("AssignmentKeyMissing", "False"))
    life.key = key
    life.look(3)
    assert scored(life) > before
    assert life.status.rollout
    assert not life.status.rollout.findings.get("unknown")


def test_another_key_makes_unknown_what_was_assigned_by_the_old_one() -> None:
    life = under_way()
    life.play(20)
    life.key = b"o" * 32
    life.look(3)
    assert life.status.rollout
    assert life.status.rollout.findings["unknown"] > 0
    assert life.acting == "cartpole-1"
