"""What a person says to a rollout: done once, by those whom it names, and inert else."""

from __future__ import annotations

from typing import Any

import pytest
from tests.control.rollout.life import RETURN, Life, canary, strategy

from checkrein.api import conditions

BY = {"by": "ops@example.com"}
SLOW = strategy(canary=canary({"weight": 10, "units": 100_000}, {"weight": 50, "units": 4}))


def under_way(spec: dict[str, Any] = SLOW, **fields: Any) -> Life:
    """cartpole-2 is in its first step."""
    life = Life(spec=spec, **fields)
    life.look()
    life.play(2)
    life.look(3)
    assert life.weight
    return life


def rejected() -> Life:
    """cartpole-2 has failed its gate."""
    life = Life(spec=strategy())
    life.until(lambda s: s.candidate is None, candidate=0.0)
    return life


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        pytest.param({"abort": {"policyVersion": "cartpole-2", **BY}}, ("Aborted", "cartpole-1", 0), id="abort"),
        pytest.param({"abort": {"policyVersion": "cartpole-3", **BY}}, ("Canary", "cartpole-1", 10), id="another's"),
        pytest.param(
            {"approve": {"policyVersion": "cartpole-2", "full": True, **BY}}, ("Complete", "cartpole-2", 0), id="full"
        ),
        pytest.param(
            {"approve": {"policyVersion": "cartpole-3", "full": True, **BY}},
            ("Canary", "cartpole-1", 10),
            id="full, of another",
        ),
        pytest.param(
            {"approve": {"policyVersion": "cartpole-2", "step": 1, **BY}}, ("Canary", "cartpole-1", 50), id="a step"
        ),
        pytest.param(
            {"approve": {"policyVersion": "cartpole-2", "step": 2, **BY}},
            ("Canary", "cartpole-1", 10),
            id="a later one",
        ),
        pytest.param({"paused": True}, ("Paused", "cartpole-1", 10), id="pause"),
        pytest.param(
            {"paused": True, "approve": {"policyVersion": "cartpole-2", "full": True, **BY}},
            ("Paused", "cartpole-1", 10),
            id="a pause is stronger than an approval",
        ),
        pytest.param(
            {"paused": True, "abort": {"policyVersion": "cartpole-2", **BY}},
            ("Aborted", "cartpole-1", 0),
            id="an abort is stronger than a pause",
        ),
    ],
)
def test_words(word: dict[str, Any], expected: tuple[str, str, int]) -> None:
    life = under_way()
    life.say(**word)
    life.look()
    assert (life.said()[0], life.acting, life.weight) == expected
    life.look(3)
    assert (life.said()[0], life.acting, life.weight) == expected


def test_history_tells_who_said_so() -> None:
    life = under_way()
    life.say(approve={"policyVersion": "cartpole-2", "full": True, **BY})
    [entry] = life.look().history
    assert (entry.event, entry.policy, entry.since, entry.by, entry.reason) == (
        "Promoted",
        "cartpole-2",
        "cartpole-1",
        "ops@example.com",
        "Approved",
    )
    life = under_way()
    life.say(abort={"policyVersion": "cartpole-2", "reason": "it hums", **BY})
    [entry] = life.look().history
    assert (entry.event, entry.policy, entry.by) == ("Aborted", "cartpole-2", "ops@example.com")
    assert "it hums" in entry.message


def test_nothing_is_approved_that_has_failed() -> None:
    life = under_way(strategy(canary=canary({"weight": 50, "units": 100_000})))
    for _ in range(20):
        life.play(4, candidate=0.0)
        life.pass_(3)
    life.say(approve={"policyVersion": "cartpole-2", "full": True, **BY})
    life.look()
    assert (life.said()[0], life.acting) == ("GateFailed", "cartpole-1")


def test_a_pause_stops_steps_and_time_but_not_evidence() -> None:
    life = under_way(strategy(canary=canary({"weight": 50, "units": 4}, maxDuration="1h")))
    life.say(paused=True)
    life.until(lambda s: s.gates[0].verdict == "Pass")
    assert (life.acting, life.status.phase) == ("cartpole-1", "Paused")
    assert life.look(10**6).candidate
    life.say()
    assert life.look().stable.name == "cartpole-2"  # type: ignore[union-attr]
    worse = under_way(strategy(canary=canary({"weight": 50, "units": 4})))
    worse.say(paused=True)
    worse.until(lambda s: s.candidate is None, candidate=0.0)
    assert worse.said()[0] == "GateFailed"


def test_while_paused_no_new_candidate_is_taken() -> None:
    life = Life(spec={**SLOW, "rollout": {"paused": True}})
    assert life.look().candidate is None
    assert life.said()[:2] == ("Paused", "False")
    life.say()
    assert life.look().candidate


def test_a_rejected_version_is_tried_again_by_a_new_nonce_only() -> None:
    life = rejected()
    life.edit(replicas=2, limits={"decisionsPerSecond": 5})
    assert life.look(3).candidate is None, "another generation is no word"
    retry = {"policyVersion": "cartpole-2", "nonce": "1"}
    life.say(retry=retry)
    status = life.look(3)
    assert (status.rollout.id, life.weight) == ("cartpole-2.2", 25)  # type: ignore[union-attr]
    assert [e.event for e in status.history] == ["Rejected", "Retried"]
    life.until(lambda s: s.candidate is None, candidate=0.0)
    assert life.status.rejected[0].attempt == 2
    assert life.look(3).candidate is None, "a nonce counts once"
    life.say(retry={**retry, "nonce": "2"})
    assert life.look(3).rollout.id == "cartpole-2.3"  # type: ignore[union-attr]


def test_a_nonce_from_before_the_rejection_is_used_up() -> None:
    life = Life(spec={**strategy(), "rollout": {"retry": {"policyVersion": "cartpole-2", "nonce": "1"}}})
    life.until(lambda s: s.rejected, candidate=0.0)
    assert life.look(3).candidate is None


def test_a_retry_is_judged_more_strictly() -> None:
    def units() -> int:
        life.until(lambda s: s.candidate is None)
        return life.status.gates[0].units

    life = rejected()
    life.say(retry={"policyVersion": "cartpole-2", "nonce": "1"})
    second = units()
    life = Life(spec=strategy())
    assert units() < second


@pytest.mark.parametrize(
    "word",
    [
        pytest.param({"abort": {"policyVersion": "cartpole-2", **BY}}, id="abort"),
        pytest.param({"approve": {"policyVersion": "cartpole-2", "step": 1, **BY}}, id="approve"),
    ],
)
def test_a_word_about_one_try_says_nothing_about_the_next(word: dict[str, Any]) -> None:
    life = under_way()
    life.say(**word)
    life.look(3)
    if life.status.candidate:
        life.say(**word, abort={"policyVersion": "cartpole-2", **BY})
        life.look(3)
    life.say(**word, retry={"policyVersion": "cartpole-2", "nonce": "1"})
    for _ in range(3):
        status = life.look(3)
    assert (life.said()[0], status.step.index) == ("Canary", 1)  # type: ignore[union-attr]
    life.say()
    life.look(3)
    life.say(**word)
    life.look(3)
    assert (life.weight, life.said()[0]) != (10, "Canary"), "said anew, it counts"


def test_an_approval_that_is_required_comes_from_a_person() -> None:
    life = Life(spec={**strategy(canary=canary({"weight": 50, "units": 4}, gates=[RETURN])), "approval": "Required"})
    life.until(lambda s: s.step.kind == "Approval")
    life.say(approve={"policyVersion": "cartpole-2", "full": True, **BY})
    assert life.look().stable.name == "cartpole-2"  # type: ignore[union-attr]
    assert life.said()[2] == "PolicyVersion cartpole-2 decides, before it cartpole-1, by ops@example.com"


def test_without_a_strategy_a_person_can_be_asked_as_well() -> None:
    life = Life(spec={"approval": "Required"})
    life.look()
    assert (life.said()[0], life.acting) == ("WaitingForPerson", "cartpole-1")
    life.say(approve={"policyVersion": "cartpole-2", "full": True, **BY})
    assert life.look().stable.name == "cartpole-2"  # type: ignore[union-attr]


def test_waiting_for_a_person_is_not_progress() -> None:
    """As kstatus reads it: a deployment whose Progressing is True is not settled."""
    life = under_way()
    life.say(paused=True)
    progressing = conditions.get(life.look().conditions, "Progressing")
    assert progressing
    assert progressing.status == "False"
