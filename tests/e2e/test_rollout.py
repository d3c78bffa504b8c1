"""A new version earns its place on a real cluster: promoted, stopped, held, and every change of mind."""

from __future__ import annotations

import json

import pytest
from tests.cluster.kubectl import KubectlError
from tests.e2e.rollouts import AGENT, ERRORS, FIRST, RETURN, SECOND, SHADOWED, WORSE, Agent, slow
from tests.e2e.world import condition


def test_a_good_version_is_shadowed_canaried_and_promoted_and_going_back_is_immediate(agent: Agent) -> None:
    epoch = agent.status["epoch"]
    agent.patch(strategy={**slow(), "shadow": {"units": SHADOWED}})  # it does not end before it was looked at
    with agent.traffic() as traffic:
        agent.patch(policyVersion=SECOND)
        shadowed = agent.canary()["rollout"]
        assert shadowed["shadowed"] >= SHADOWED
        assert shadowed["shadow"]["compared"] > 0
        agent.go_on()
        found = agent.stable(SECOND)
        assert {g["name"]: g["verdict"] for g in found["gates"]}["return"] == "Pass"
        assert found["epoch"] > epoch
        assert agent.last_event() == ("Promoted", SECOND)
        agent.patch(policyVersion=FIRST)
        agent.stable(FIRST)
        assert agent.last_event() == ("RolledBack", FIRST)
        assert traffic.failed == []
        assert traffic.answers[SECOND] > 0


def test_a_worse_version_is_stopped_rejected_and_tried_again_only_when_a_person_asks(agent: Agent) -> None:
    with agent.traffic(cartpole_3=0.0) as traffic:
        agent.patch(policyVersion=WORSE)
        entry = agent.rejected(WORSE)
        assert "return" in entry["message"]
        agent.until(lambda s: traffic.last[FIRST] > traffic.last[WORSE] + 10, "left by the worse one")
        seen = traffic.answers[WORSE]
        assert agent.status["stable"]["name"] == FIRST
        agent.patch(policyVersion=WORSE, replicas=1)  # another generation alone is no new try
        agent.progressing("False", entry["reason"])
        assert traffic.answers[WORSE] == seen
        traffic.returns[WORSE] = 450.0
        agent.patch(policyVersion=WORSE, rollout={"retry": {"policyVersion": WORSE, "nonce": "1"}})
        agent.stable(WORSE)
        assert not [f for f in traffic.failed if f.startswith("5")]


def test_a_person_aborts_and_running_episodes_go_back_to_stable(agent: Agent) -> None:
    agent.patch(strategy=slow())
    with agent.traffic() as traffic:
        agent.patch(policyVersion=SECOND)
        agent.until(lambda _: traffic.answers[SECOND] > 0, "acting")
        agent.patch(rollout={"abort": {"policyVersion": FIRST, "reason": "not this one"}})
        agent.heeded()  # that word is about another version: nothing comes of it
        assert agent.status["candidate"]["name"] == SECOND
        agent.patch(rollout={"abort": {"policyVersion": SECOND, "reason": "enough seen"}})
        entry = agent.rejected(SECOND)
        assert "enough seen" in entry["message"]
        assert traffic.failed == []


def test_an_override_pauses_a_canary_which_then_goes_on(agent: Agent) -> None:
    agent.patch(fallback={"action": [0]}, strategy=slow())
    person = json.loads(agent.world.kubectl("auth", "whoami", "-o", "json"))["status"]["userInfo"]["username"]
    override = {"mode": "Fallback", "reason": "a look", "by": person, "until": "2999-01-01T00:00:00Z"}
    with agent.traffic() as traffic:
        agent.patch(policyVersion=SECOND)
        agent.canary()
        agent.patch(override=override)
        agent.progressing("False", "Overridden")
        assert agent.status["stable"]["name"] == FIRST
        agent.patch(override=None)
        agent.go_on()
        agent.stable(SECOND)
        assert traffic.failed == []


def test_another_version_in_the_middle_replaces_the_candidate_unrejected(agent: Agent) -> None:
    agent.patch(strategy=slow())
    with agent.traffic():
        agent.patch(policyVersion=SECOND)
        agent.canary()
        agent.patch(policyVersion=WORSE)
        agent.until(lambda s: (s.get("candidate") or {}).get("name") == WORSE, "replaced")
        assert agent.status.get("rejected", []) == []
        agent.patch(policyVersion=FIRST)
        agent.until(lambda s: not s.get("candidate"), "left")


def test_a_candidate_cannot_be_deleted_while_it_is_tried(agent: Agent) -> None:
    agent.patch(strategy=slow())
    agent.patch(policyVersion=SECOND)
    agent.until(lambda s: (s.get("candidate") or {}).get("name") == SECOND, "candidate")
    with pytest.raises(KubectlError, match="cartpole-2"):
        agent.world.kubectl("delete", "policyversion", SECOND)


def test_edited_gates_are_another_attempt_and_edited_weights_are_not(agent: Agent) -> None:
    agent.patch(strategy=slow())
    with agent.traffic():
        agent.patch(policyVersion=SECOND)
        first = agent.canary()["rollout"]["id"]
        agent.patch(strategy=slow(steps=[{"weight": 25, "units": 100_000}]))
        agent.until(lambda s: s["step"]["weight"] == 25, "at the new weight")
        assert agent.status["rollout"]["id"] == first
        agent.patch(strategy=slow(gates=[{**RETURN, "alpha": "0.1"}, ERRORS]))
        agent.until(lambda s: (s.get("rollout") or {}).get("id", first) != first, "another attempt")


def test_operator_and_replica_killed_in_a_canary_lose_nothing(agent: Agent) -> None:
    agent.patch(strategy=slow())
    with agent.traffic() as traffic:
        agent.patch(policyVersion=SECOND)
        agent.canary()
        pod = f"{agent.name}-agent-0"
        killed = agent.world.get("pod", pod)["metadata"]["uid"]
        operators = "app.kubernetes.io/component=operator"
        at_once = ("--grace-period=0", "--force")
        agent.world.cluster.kubectl("-n", "checkrein-system", "delete", "pod", "-l", operators, *at_once)
        agent.world.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
        agent.world.until(
            "pod",
            pod,
            lambda o: o["metadata"]["uid"] != killed and condition(o, "Ready").get("status") == "True",
            "back",
        )
        agent.until(lambda s: s["readyReplicas"] == 2, "both back")
        traffic.look()
        agent.go_on()
        agent.stable(SECOND)


def test_scaled_to_zero_and_back_it_goes_on(agent: Agent) -> None:
    agent.patch(strategy=slow())
    with agent.traffic() as traffic:
        agent.patch(policyVersion=SECOND)
        before = agent.canary()["rollout"]["id"]
        agent.patch(replicas=0)
        agent.until(lambda s: s["replicas"] == 0 and not s.get("readyReplicas"), "gone")
        agent.patch(replicas=1)
        agent.until(lambda s: s["readyReplicas"] == 1, "back")
        traffic.look()
        seen = traffic.answers[SECOND]
        agent.until(lambda _: traffic.answers[SECOND] > seen, "acting again")
        assert agent.status["rollout"]["id"] == before


def test_a_promotion_waits_for_a_person_where_one_is_asked_for(agent: Agent) -> None:
    agent.patch(approval="Required")
    with agent.traffic():
        agent.patch(policyVersion=SECOND)
        agent.until(lambda s: (s.get("step") or {}).get("kind") == "Approval", "waiting")
        assert agent.status["stable"]["name"] == FIRST
        person = json.loads(agent.world.kubectl("auth", "whoami", "-o", "json"))["status"]["userInfo"]["username"]
        agent.patch(rollout={"approve": {"policyVersion": SECOND, "full": True, "by": person}})
        agent.stable(SECOND)
        entry = agent.status["history"][-1]
        assert (entry["event"], entry["by"]) == ("Promoted", person)


def test_a_rejected_version_does_not_act_as_the_first_of_a_deployment_made_anew(agent: Agent) -> None:
    with agent.traffic(cartpole_3=0.0):
        agent.patch(policyVersion=WORSE)
        agent.rejected(WORSE)
    agent.world.kubectl("delete", AGENT, agent.name, "--wait=true")
    agent.deploy(WORSE, replicas=1)
    agent.until(lambda s: s.get("observedGeneration"), "planned")
    assert WORSE in agent.progressing("False")
    assert not agent.status.get("stable")


def test_two_deployments_of_the_same_versions_do_not_disturb_each_other(agent: Agent) -> None:
    other = Agent(agent.world, f"{agent.name}-other")
    other.deploy(replicas=1, strategy=None)
    other.stable(FIRST)
    with agent.traffic(cartpole_2=0.0):
        agent.patch(policyVersion=SECOND)
        agent.rejected(SECOND)
        other.patch(policyVersion=SECOND)
        other.stable(SECOND)
        assert agent.status["stable"]["name"] == FIRST
    agent.world.kubectl("delete", AGENT, other.name)
