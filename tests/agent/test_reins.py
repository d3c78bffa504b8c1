"""The hand on the reins, at a real replica: overrides, fallbacks, limits, shield, exploration, the log."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.agent import graphs
from tests.agent.conftest import StartReplica
from tests.agent.installation import NAME, Deployment, Library
from tests.agent.proxy import Proxy
from tests.agent.replica import OBSERVATION, Replica
from tests.cluster.outage import Outage
from tests.cluster.processes import tail
from tests.cluster.steps import ClusterError, wait_until

from checkrein.api.meta import API_VERSION

pytestmark = [pytest.mark.controlplane, pytest.mark.store]
Deploy = Callable[..., Deployment]
Spec = dict[str, Any]

OPEN: Spec = {"auth": {"mode": "None"}}


def until(seconds: float = 600) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def override(mode: str, **fields: Any) -> Spec:
    ending = {} if mode == "Stop" else {"until": until()}
    return {"override": {"mode": mode, "reason": "a sensor fault", "by": "ops@example.com", **ending, **fields}}


def answers(replica: Replica, wanted: dict[str, Any], episode: str | None = None) -> dict[str, Any]:
    """Asks until an answer has these fields."""
    last: dict[str, Any] = {}

    def holds() -> bool:
        nonlocal last
        response = replica.post({"observation": OBSERVATION} | ({"episode": episode} if episode else {}))
        last = response.json()
        return all(last.get(name) == value for name, value in wanted.items())

    wait_until(holds, 90, otherwise=lambda: ClusterError(f"last answer {last}\n{tail(replica.process.log)}"))
    return last


def records(replica: Replica) -> list[dict[str, Any]]:
    """What the replica's disk holds of its log, in order."""
    assert replica.log is not None
    while True:
        files = segments(replica.log)
        try:
            lines = [line for f in files for line in f.read_bytes().splitlines()[1:]]
        except FileNotFoundError:
            continue
        if segments(replica.log) == files:  # none was sealed, or stored and removed, meanwhile
            return [json.loads(line)["record"] for line in lines if line.endswith(b"}}")]


def segments(log: Path) -> list[Path]:
    return sorted(f for f in log.rglob("*") if f.suffix in (".open", ".sealed"))


def logged(replica: Replica, **wanted: Any) -> dict[str, Any]:
    """The first record on the disk with these fields, once it is there."""
    found: list[dict[str, Any]] = []

    def holds() -> bool:
        found[:] = [r for r in records(replica) if all(r.get(name) == value for name, value in wanted.items())]
        return bool(found)

    wait_until(holds, 90, otherwise=lambda: ClusterError(f"no record with {wanted}\n{tail(replica.process.log)}"))
    return found[0]


@pytest.fixture
def deployed(deploy: Deploy, library: Library, start: StartReplica) -> Callable[..., tuple[Deployment, Replica]]:
    """A replica whose stable policy, cartpole-1, always answers 0."""

    def make(**spec: Any) -> tuple[Deployment, Replica]:
        deployment = deploy(**OPEN, **spec)
        deployment.set_status(1, library.publish("cartpole-1", graphs.always(0)))
        replica = start(deployment)
        replica.wait_acting("cartpole-1")
        return deployment, replica

    return make


Deployed = Callable[..., tuple[Deployment, Replica]]


def version(deployment: Deployment, library: Library, name: str, action: int) -> None:
    """A PolicyVersion that only its name leads to."""
    pointer = library.publish(name, graphs.always(action))
    policy, _, number = name.rpartition("-")
    digest = pointer.artifact.digest
    spec = {
        "policy": policy,
        "version": int(number),
        "artifact": pointer.artifact.dump(),
        "interface": pointer.interface.dump(),
        "environment": {"name": policy, "digest": digest},
        "provenance": {
            "trainingJob": policy,
            "uid": "u",
            "attempt": 1,
            "seed": 0,
            "image": "i",
            "algorithm": "PPO",
        },
        "evaluation": {"episodes": 1, "mean": "1"},
    }
    version = {"apiVersion": API_VERSION, "kind": "PolicyVersion", "metadata": {"name": name}, "spec": spec}
    deployment.kubectl.apply(version, namespace=deployment.namespace)


def test_an_action_takes_hold_within_a_running_episode_and_the_policy_goes_on_after_it(deployed: Deployed) -> None:
    deployment, replica = deployed()
    running = replica.act()
    deployment.set_spec(OPEN | override("Action", action=[1]))
    held = answers(replica, {"action": 1, "regime": "Action", "policy": ""}, running["episode"])
    assert (replica.report().overridden, replica.report().regime) == (True, "Action")
    begun = logged(replica, kind="override", mode="Action")  # now: it leaves the disk once later ones are stored
    deployment.set_spec(OPEN)
    answers(replica, {"action": 0, "regime": "Policy", "policy": "cartpole-1"}, held["episode"])
    ended = logged(replica, kind="override", mode="")
    assert (begun["by"], begun["reason"], begun["effective"]) == ("ops@example.com", "a sensor fault", "Action")
    assert ended["effective"] == "cartpole-1"


def test_an_override_ends_at_its_time_without_anybody(deployed: Deployed) -> None:
    deployment, replica = deployed()
    deployment.set_spec(OPEN | override("Action", action=[1]))
    answers(replica, {"action": 1})
    deployment.set_spec(OPEN | override("Action", action=[1], until=until(4)))
    answers(replica, {"action": 0, "regime": "Policy"})
    logged(replica, kind="override", mode="")


def test_stop_refuses_with_who_and_why_and_episodes_may_still_end(deployed: Deployed) -> None:
    deployment, replica = deployed()
    running = replica.act()
    deployment.set_spec(OPEN | override("Stop"))
    refusal = answers(replica, {"status": 503})
    assert refusal["type"].endswith("/stopped")
    assert "ops@example.com" in refusal["detail"]
    assert "a sensor fault" in refusal["detail"]
    assert replica.get("/readyz").status_code == 200, "callers should hear why"
    assert replica.post({"episode": running["episode"], "aborted": True}).status_code == 200


def test_a_pinned_version_is_found_by_name_without_an_operator(deployed: Deployed, library: Library) -> None:
    deployment, replica = deployed()
    version(deployment, library, "cartpole-7", 1)
    deployment.set_spec(OPEN | override("Pin", policyVersion="cartpole-7"))
    answers(replica, {"action": 1, "policy": "cartpole-7", "regime": "Pin"})


def test_a_pin_that_does_not_exist_lets_nobody_act_but_the_fallback(deployed: Deployed) -> None:
    deployment, replica = deployed(fallback={"action": [1]})
    fallback = {"fallback": {"action": [1]}}
    deployment.set_spec(OPEN | fallback | override("Pin", policyVersion="cartpole-9"))
    answers(replica, {"action": 1, "regime": "Fallback"})
    report = replica.wait(lambda r: any(p.reason == "PolicyVersionNotFound" for p in r.policies))
    assert [p.name for p in report.policies if not p.ready] == ["cartpole-9"]


def test_the_fallback_version_acts_where_the_stable_policy_fails(
    deploy: Deploy, library: Library, start: StartReplica
) -> None:
    deployment = deploy(**OPEN, fallback={"policyVersion": "cartpole-1", "action": [0]})
    version(deployment, library, "cartpole-1", 1)
    deployment.set_status(1, library.publish("cartpole-2", graphs.sometimes_invalid()))
    replica = start(deployment)
    replica.wait(lambda r: [p.ready for p in r.policies] == [True, True])
    assert replica.act()["policy"] == "cartpole-2"
    moved = replica.act(observation=graphs.TRIGGER)
    assert (moved["policy"], moved["regime"], moved["action"]) == ("cartpole-1", "Fallback", 1)
    assert 'policy="cartpole-2"' in replica.get("/metrics").text


def test_a_policy_that_takes_a_second_is_replaced_in_time_and_holds_up_nobody(
    deploy: Deploy, library: Library, start: StartReplica
) -> None:
    deployment = deploy(**OPEN, fallback={"action": [1]})
    deployment.set_status(1, library.publish("cartpole-2", graphs.slow(20_000, 4_000_000)))
    replica = start(deployment)
    replica.wait_acting("cartpole-2")
    answers(replica, {"policy": "cartpole-2"})  # a machine that stands still for a second is too slow for it, too
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(replica.act, observation=graphs.TRIGGER)
        while not late.done():
            assert replica.get("/livez").status_code == 200
    assert (late.result()["regime"], late.result()["action"]) == ("Fallback", 1)


def test_over_the_limit_429_or_the_fallback_action(deployed: Deployed) -> None:
    limits = {"decisionsPerSecond": 1, "burst": 3}
    deployment, replica = deployed(limits=limits, fallback={"action": [1]})
    assert [replica.post({"observation": OBSERVATION}).status_code for _ in range(3)] == [200, 200, 200]
    while (refused := replica.post({"observation": OBSERVATION})).status_code == 200:
        pass  # a second had passed before the next was asked for
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["type"].endswith("/too-many")
    deployment.set_spec(OPEN | {"limits": limits | {"exceeded": "Fallback"}, "fallback": {"action": [1]}})
    answers(replica, {"action": 1, "regime": "Limit"})
    assert logged(replica, kind="decision", limited=True)["action"] == 1


def test_what_the_shield_forbids_is_never_executed_whoever_asks_for_it(deployed: Deployed) -> None:
    shield = {"shield": [{"name": "never-zero", "forbid": [0]}]}
    deployment, replica = deployed(**shield)
    answer = replica.act()
    assert (answer["action"], answer["shielded"], answer["policy"]) == (1, True, "cartpole-1")
    record = logged(replica, kind="decision", decision=answer["decision"])
    assert (record["proposed"], record["action"], record["shield"]) == (0, 1, "never-zero")
    deployment.set_spec(OPEN | shield | override("Action", action=[0]))
    answers(replica, {"action": 1, "regime": "Action", "shielded": True})


def test_a_rule_that_cannot_be_kept_is_reported_and_the_ones_before_stay(deployed: Deployed) -> None:
    deployment, replica = deployed(shield=[{"name": "never-zero", "forbid": [0]}])
    deployment.set_spec(OPEN | {"shield": [{"name": "slow", "maxChange": ["0.5"]}]})
    report = replica.wait(lambda r: bool(r.problems))
    assert "slow" in report.problems[0]
    assert "maxChange needs Box actions" in report.problems[0]
    assert replica.act()["action"] == 1


def test_a_rule_may_end_the_episode(deployed: Deployed) -> None:
    rule = {"name": "out", "require": "observation[0] < 1.0", "otherwise": "Terminate"}
    _, replica = deployed(shield=[rule])
    first = replica.act()
    over = replica.post({"observation": [2.0, 0.0, 0.0, 0.0], "episode": first["episode"], "reward": 1.0})
    assert (over.status_code, over.json()) == (200, {"ended": "shield", "steps": 1, "policy": "cartpole-1"})
    ended = logged(replica, kind="end", ending="shield")
    assert (ended["step"], ended["shield"], ended["proposed"]) == (1, "out", 0)


def test_every_exploration_is_on_the_disk_before_it_is_answered(deployed: Deployed) -> None:
    _, replica = deployed(exploration={"epsilonGreedy": {"epsilon": "0.5"}})
    explored = []
    for _ in range(40):
        answer = replica.act()
        if answer["explored"]:
            found = [r for r in records(replica) if r.get("decision") == answer["decision"]]
            assert [(r["exploration_flag"], r["action"]) for r in found] == [(True, answer["action"])]
            explored += found
    assert explored
    assert explored[0]["propensity"] == pytest.approx(0.25 if explored[0]["action"] == 1 else 0.75)


def test_a_retry_gets_the_same_action_though_it_explores(deployed: Deployed) -> None:
    _, replica = deployed(exploration={"epsilonGreedy": {"epsilon": "1"}})
    token = replica.act()["episode"]
    tries = [replica.act(token) for _ in range(10)]
    assert len({(t["action"], t["decision"]) for t in tries}) == 1
    assert len({replica.act()["action"] for _ in range(30)}) == 2


def test_the_log_has_every_decision_with_what_an_auditor_asks_for(deployed: Deployed) -> None:
    _, replica = deployed(decisionLog={"observations": "Full"})
    first = replica.act()
    second = replica.act(first["episode"], reward=1.5, cost=0.25)
    replica.post({"episode": second["episode"], "reward": 2.0, "truncated": True})
    record = logged(replica, kind="decision", decision=second["decision"])
    assert record["reward"] == 1.5
    assert record["cost"] == 0.25
    assert (record["step"], record["observation"], record["agent_id"]) == (
        1,
        OBSERVATION,
        f"{replica.namespace}/{NAME}",
    )
    assert record["exploration_flag"] is False
    assert len(record["action_hash"]) == 64
    assert record["timestamp"].endswith("Z")
    ended = logged(replica, kind="end", ending="truncated")
    assert (ended["step"], ended["reward"], ended["episode"]) == (2, 2.0, record["episode"])


def test_the_same_step_with_another_observation_is_marked_as_a_fork(deployed: Deployed) -> None:
    _, replica = deployed()
    token = replica.act()["episode"]
    replica.act(token)
    other = replica.act(token, observation=[0.0, 0.0, 0.0, 0.0])
    logged(replica, kind="decision", decision=other["decision"], forked=True)


def test_an_episode_ends_at_its_deadline(deployed: Deployed) -> None:
    _, replica = deployed(episodeDeadline="2s")
    token = replica.act()["episode"]
    wait_until(
        lambda: replica.post({"observation": OBSERVATION, "episode": token}).status_code == 400,
        90,
        otherwise=lambda: ClusterError("the episode does not end"),
    )
    assert replica.post({"observation": OBSERVATION, "episode": token}).json()["type"].endswith("/episode-expired")
    assert logged(replica, kind="end", ending="deadline")["reward"] is None


def test_outcomes_are_taken_from_reporters_only_and_kept(deployed: Deployed) -> None:
    deployment, replica = deployed()
    decision = replica.act()["decision"]
    body = {"decision": decision, "reward": 3.5, "final": True}
    token = deployment.token()
    assert replica.post(body, path="/v1/outcomes").status_code == 401
    assert replica.post(body, path="/v1/outcomes", token=token).status_code == 403
    account = f"system:serviceaccount:{deployment.namespace}:caller"
    deployment.set_spec({"auth": {"mode": "None", "reporters": [account]}})
    wait_until(
        lambda: replica.post(body, path="/v1/outcomes", token=token).status_code == 200,
        90,
        otherwise=lambda: ClusterError(tail(replica.process.log)),
    )
    assert logged(replica, kind="outcome", decision=decision)["reward"] == 3.5


@pytest.mark.outage
def test_the_last_word_stays_and_an_override_still_ends_while_the_api_server_is_away(
    deploy: Deploy, library: Library, start: StartReplica
) -> None:
    deployment = deploy(**OPEN)
    deployment.set_status(1, library.publish("cartpole-1", graphs.always(0)))
    config = json.loads(deployment.controlplane.kubeconfig.read_text())
    proxy = Proxy(config["clusters"][0]["cluster"]["server"])
    replica = start(deployment, api_server=proxy.url)
    replica.wait_acting("cartpole-1")
    deployment.set_spec(OPEN | override("Action", action=[1], until=until(30)))
    answers(replica, {"action": 1})
    proxy.cut()
    outage = Outage()
    assert replica.act()["action"] == 1
    answers(replica, {"action": 0, "regime": "Policy"})
    outage.last(lambda: answers(replica, {"action": 0, "regime": "Policy"}))
    assert "watch interrupted, the last word stays" in replica.process.log.read_text()


def test_a_replica_killed_and_started_again_goes_on_with_its_log(
    deploy: Deploy, library: Library, start: StartReplica, tmp_path: Path
) -> None:
    deployment = deploy(**OPEN)
    deployment.set_status(1, library.publish("cartpole-1", graphs.always(0)))
    first = start(deployment, log=tmp_path / "log")
    first.wait_acting("cartpole-1")
    decision = first.act()["decision"]
    logged(first, kind="decision", decision=decision)
    first.process.kill()
    second = start(deployment, log=tmp_path / "log")
    second.wait_acting("cartpole-1")
    logged(second, kind="opened", boot=2)  # now: it leaves the disk once later ones are stored
    later = second.act()["decision"]
    logged(second, kind="decision", decision=later)
