"""Who acted and who was refused is remembered: in the status, and by the store where that is lost."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.control import builders as b
from tests.control.rollout.life import RETURN, Life, canary, strategy

from checkrein.api import conditions
from checkrein.api.deployment import AgentDeploymentStatus
from checkrein.control.rollout import history

QUICK = strategy(canary=canary({"weight": 50, "units": 4}, gates=[RETURN]))


def promoted(spec: dict[str, object] = QUICK) -> Life:
    """cartpole-2 has taken cartpole-1's place."""
    life = Life("cartpole-1", spec=spec, fresh=True)
    life.look()
    life.edit(policyVersion="cartpole-2")
    life.until(lambda s: s.stable.name == "cartpole-2")
    return life


def rejected() -> Life:
    """cartpole-2 has failed."""
    life = Life("cartpole-1", spec=QUICK, fresh=True)
    life.look()
    life.edit(policyVersion="cartpole-2")
    life.until(lambda s: s.rejected, candidate=0.0)
    life.look(3)
    return life


def lose(life: Life) -> None:
    """Somebody deletes the object and makes it again, or restores it without its status."""
    metadata = life.agent.metadata.model_copy(update={"creation_timestamp": life.now + timedelta(seconds=1)})
    life.agent = life.agent.model_copy(update={"metadata": metadata, "status": AgentDeploymentStatus()})


def test_back_to_one_that_was_stable_is_immediate() -> None:
    life = promoted()
    life.edit(policyVersion="cartpole-1")
    status = life.look()
    assert (life.acting, status.step, life.said()[0]) == ("cartpole-1", None, "Complete")
    assert life.said()[2] == "PolicyVersion cartpole-1 decides again, rolled back from cartpole-2"
    assert [(e.event, e.policy, e.since) for e in status.history] == [
        ("Promoted", "cartpole-1", None),
        ("Promoted", "cartpole-2", "cartpole-1"),
        ("RolledBack", "cartpole-1", "cartpole-2"),
    ]
    life.edit(policyVersion="cartpole-2")
    assert life.look().stable.name == "cartpole-2", "it was stable, and nothing is held against it"  # type: ignore[union-attr]


def test_back_to_one_that_is_not_in_memory_waits_until_it_is() -> None:
    life = promoted()
    life.replicas[0].loaded = [("cartpole-2", "2")]
    life.edit(policyVersion="cartpole-1")
    life.look()
    assert (life.said()[:2], life.acting) == (("Loading", "True"), "cartpole-2")
    life.replicas[0].loaded = [("cartpole-1", "1"), ("cartpole-2", "2")]
    assert life.look().stable.name == "cartpole-1"  # type: ignore[union-attr]


def test_a_rollback_waits_neither_for_the_store_nor_for_approval() -> None:
    life = promoted()
    life.stored = False
    life.edit(policyVersion="cartpole-1", approval="Required", rollout={"paused": True})
    assert life.look().stable.name == "cartpole-1"  # type: ignore[union-attr]
    assert not life.status.history[-1].stored
    life.stored = True
    assert life.look(3).history[-1].stored


def test_a_promotion_whose_status_was_never_written_is_entered_once() -> None:
    life = Life(spec={})
    before = life.agent
    life.look()
    life.agent = before  # the process dies between the two writes, and another one begins
    status = life.look(7)
    assert [(e.seq, e.event, e.epoch) for e in status.history] == [(1, "Promoted", 4)]
    assert [(e.seq, e.event, e.epoch) for e in life.store] == [(1, "Promoted", 4)]


def test_the_first_promotion_whose_status_was_never_written_is_entered_once() -> None:
    life = Life(spec={}, fresh=True)
    before = life.agent
    life.look()
    for _ in range(3):
        life.agent = before
        status = life.look(7)
    assert (status.epoch, [(e.seq, e.event, e.epoch) for e in status.history]) == (1, [(1, "Promoted", 1)])
    assert [(e.seq, e.event, e.epoch) for e in life.store] == [(1, "Promoted", 1)]


def test_an_abort_whose_status_was_never_written_is_entered_once() -> None:
    life = Life(spec=QUICK)
    life.replicas[0].loaded = []
    life.look()
    life.say(abort={"policyVersion": "cartpole-2", "reason": "no"})
    before = life.agent
    life.look()
    life.agent = before
    life.look(7)
    life.look(3)
    assert [e.event for e in life.store] == ["Aborted"]


def test_epochs_go_on_when_the_status_is_lost() -> None:
    life = promoted({})
    lose(life)
    life.look()
    assert (life.acting, life.status.epoch) == ("cartpole-2", 3)
    assert [e.epoch for e in life.store] == [1, 2, 3], "the third is another promotion than the first"


def test_other_bytes_under_an_old_name_are_not_the_version_that_was_stable() -> None:
    life = promoted()
    life.versions["cartpole-1"] = b.version("cartpole-1", letter="9")
    for replica in life.replicas:
        replica.loaded.append(("cartpole-1", "9"))
    life.edit(policyVersion="cartpole-1")
    assert life.look().step.kind == "Canary"  # type: ignore[union-attr]


def test_a_rejected_version_stays_so_when_its_status_is_lost() -> None:
    life = rejected()
    lose(life)
    status = life.look()
    assert (life.acting, status.candidate, life.said()[0]) == (None, None, "GateFailed")
    assert [e.event for e in status.history] == ["Promoted", "Rejected"]
    assert [(r.name, r.attempt) for r in status.rejected] == [("cartpole-2", 1)]


def test_a_first_policy_after_a_loss_is_no_way_around_its_gates_for_the_next() -> None:
    life = rejected()
    lose(life)
    life.edit(policyVersion="cartpole-1")
    assert life.look().stable.name == "cartpole-1"  # type: ignore[union-attr]
    life.edit(policyVersion="cartpole-2")
    life.look(3)
    assert life.said()[0] == "GateFailed"


def test_a_retry_that_was_heeded_is_known_though_the_status_is_lost() -> None:
    life = rejected()
    life.say(retry={"policyVersion": "cartpole-2", "nonce": "1"})
    life.until(lambda s: s.candidate is None, candidate=0.0)
    life.look(3)
    lose(life)
    life.look()
    assert (life.acting, life.said()[0]) == (None, "GateFailed")
    life.say(retry={"policyVersion": "cartpole-2", "nonce": "2"})
    assert life.look().stable.name == "cartpole-2", "a person has said so"  # type: ignore[union-attr]


def test_nobody_acts_first_while_the_store_cannot_say_who_was_refused() -> None:
    life = rejected()
    lose(life)
    life.stored = False
    life.look()
    assert (life.acting, life.said()[:2]) == (None, ("HistoryUnavailable", "False"))


def test_the_same_bytes_under_another_name_are_refused_as_well() -> None:
    life = rejected()
    life.versions["cartpole-7"] = b.version("cartpole-7", letter="2")
    life.edit(policyVersion="cartpole-7")
    life.look(3)
    assert (life.said()[0], life.status.candidate) == ("GateFailed", None)


def test_failed_checks_are_forgotten_before_failed_rollouts() -> None:
    status = rejected().status
    for n in range(20):
        status = history.rejected(
            status, status.rejected[0].model_copy(update={"name": f"cartpole-{n + 20}", "attempt": 0})
        )
    assert len(status.rejected) == history.REJECTED_LIMIT
    assert "cartpole-2" in {r.name for r in status.rejected}


def test_status_keeps_the_newest_and_the_store_all() -> None:
    life = promoted({})
    for n in range(40):
        life.edit(policyVersion=f"cartpole-{n % 2 + 1}")
        life.look(3)
        life.look(3)
    assert len(life.status.history) == history.LIMIT
    assert len(life.store) == 42
    assert [e.seq for e in life.status.history] == list(range(11, 43))


@pytest.mark.parametrize("away", [True, False])
def test_without_a_strategy_nothing_waits_for_the_store(away: bool) -> None:
    life = Life(spec={})
    life.stored = not away
    assert life.look().stable.name == "cartpole-2"  # type: ignore[union-attr]
    assert [e.stored for e in life.status.history] == [not away]
    assert conditions.is_true(life.status.conditions, "Ready")


def test_a_version_that_was_stable_is_known_after_many_changes_between_others() -> None:
    life = promoted()
    for _ in range(history.LIMIT):
        life.edit(policyVersion="cartpole-3" if life.acting == "cartpole-2" else "cartpole-2")
        life.until(lambda s: s.stable.name == life.agent.spec.policy_version)
    assert len(life.look().history) <= history.LIMIT
    life.edit(policyVersion="cartpole-1")
    assert life.look().stable.name == "cartpole-1"  # type: ignore[union-attr]


def test_the_store_has_entries_in_their_order_whenever_it_comes_back() -> None:
    life = promoted({})
    life.stored = False
    life.edit(policyVersion="cartpole-3")
    life.until(lambda s: s.stable.name == "cartpole-3")
    life.stored = True
    life.edit(policyVersion="cartpole-4")
    life.until(lambda s: s.stable.name == "cartpole-4")
    life.look(3)
    expected = [(1, "cartpole-1"), (2, "cartpole-2"), (3, "cartpole-3"), (4, "cartpole-4")]
    assert [(e.seq, e.policy) for e in life.store] == expected
    assert [(e.seq, e.policy) for e in life.status.history] == expected
