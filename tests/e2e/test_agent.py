"""Replicas that decide: who may ask, how versions change hands, what is refused while the old one goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from tests.cli.conftest import called
from tests.cluster.cache import REPOSITORY
from tests.cluster.kubectl import KubectlError
from tests.e2e.world import World

PLAY = REPOSITORY / "manifests" / "samples" / "cartpole" / "play.yaml"
FOREIGN = "foreign"


@pytest.fixture(scope="module")
def agent(shared: World) -> World:
    """Two published versions, and two replicas that decide by the first."""
    shared.cartpole()
    for seed in (0, 1):
        shared.train(f"job-{seed}", seed=seed)
        shared.trained(f"job-{seed}")
    shared.deploy("cartpole-1", replicas=2)
    shared.deciding("cartpole-1", 2)
    return shared


def play(world: World, name: str, *, url: str = "http://agent-agent", token: bool = True) -> str:
    """The log of a client's pod that played one episode, or was refused."""
    account, job = yaml.safe_load_all(PLAY.read_text())
    player: dict[str, Any] = job["spec"]["template"]["spec"]["containers"][0]
    job["metadata"]["name"] = name
    player["image"] = world.cluster.images["trainer"]
    player["args"] = [f"--url={url}", "--environment=CartPole-v1", "--episodes=1"]
    if token:
        player["args"].append("--token-file=/var/run/checkrein/token/token")
    world.cluster.kubectl.apply(account, job, namespace=world.name)
    world.until("job", name, lambda o: bool(o["status"].get("succeeded") or o["status"].get("failed")), "ended")
    return world.kubectl("logs", f"job/{name}")


def pods(world: World) -> list[tuple[str, int]]:
    """uid and restarts of each replica."""
    found = world.items("pods", "app.kubernetes.io/component=agent")
    return sorted((p["metadata"]["uid"], p["status"]["containerStatuses"][0]["restartCount"]) for p in found)


def test_a_client_plays_by_the_decisions_of_the_stable_version(agent: World) -> None:
    assert "1 of 1 episodes" in play(agent, "play-ok")


def test_the_command_shows_what_runs(agent: World, capsys: pytest.CaptureFixture[str]) -> None:
    def say(*arguments: str) -> str:
        code, out, err = called(agent.cluster.kubeconfig, capsys, *arguments, "-n", agent.name)
        assert code == 0, err + out
        return out

    rows = [line.split() for line in say("top", "--interval", "0.1").splitlines()]
    assert [row[:2] for row in rows[1:]] == [["agent", "agent-agent-0"], ["agent", "agent-agent-1"]]
    assert "[agent-agent-0] " in say("logs", "agent/agent", "--tail", "1")
    say("logs", "tj/job-0", "--all")  # of its training and its evaluation, which had nothing to complain of
    agent.until_condition("agentdeployment", "agent", "Ready", "True")
    agent.until_condition("agentdeployment", "agent", "Progressing", "False", "Complete")
    assert say("explain", "agent/agent") == "AgentDeployment agent is Healthy: nothing is wrong\n"
    assert " leads" in say("doctor")
    assert say("status").count("AgentDeployment agent") == 1


def test_a_caller_without_a_token_is_refused(agent: World) -> None:
    assert "send Authorization: Bearer with a service account token" in play(agent, "play-anonymous", token=False)


def test_a_caller_of_another_namespace_is_refused(agent: World, world: World) -> None:
    assert "is not of namespace" in play(world, "play-foreign", url=f"http://agent-agent.{agent.name}")


def test_a_switch_and_a_rollback_restart_no_pod(agent: World) -> None:
    before = pods(agent)
    epoch = agent.get("agentdeployment", "agent")["status"]["epoch"]
    agent.patch("agentdeployment", "agent", {"policyVersion": "cartpole-2"})
    agent.deciding("cartpole-2", 2)
    agent.patch("agentdeployment", "agent", {"policyVersion": "cartpole-1"})
    agent.deciding("cartpole-1", 2)
    assert agent.get("agentdeployment", "agent")["status"]["epoch"] == epoch + 2
    assert pods(agent) == before


def test_a_missing_version_is_named_and_the_old_one_goes_on(agent: World) -> None:
    agent.patch("agentdeployment", "agent", {"policyVersion": "cartpole-99"})
    message = agent.until_condition("agentdeployment", "agent", "Progressing", "False", "PolicyVersionNotFound")
    assert "spec.policyVersion" in message
    assert "cartpole-99" in message
    agent.deciding("cartpole-1", 2)
    agent.patch("agentdeployment", "agent", {"policyVersion": "cartpole-1"})
    agent.until_condition("agentdeployment", "agent", "Progressing", "False", "Complete")


def test_a_version_in_use_cannot_be_deleted(agent: World) -> None:
    with pytest.raises(KubectlError, match="cartpole-1"):
        agent.kubectl("delete", "policyversion", "cartpole-1")
    agent.until_condition("policyversion", "cartpole-1", "Verified", "True")


def test_an_import_whose_bytes_are_others_is_rejected_and_the_old_one_goes_on(agent: World) -> None:
    first, second = (agent.get("policyversion", f"cartpole-{n}")["spec"] for n in (1, 2))
    lie = {**first["artifact"], "versionId": second["artifact"]["versionId"]}
    agent.apply("PolicyVersion", "cartpole-7", {**first, "version": 7, "artifact": lie})
    agent.until_condition("policyversion", "cartpole-7", "Verified", "False")
    agent.patch("agentdeployment", "agent", {"policyVersion": "cartpole-7"})
    message = agent.until_condition("agentdeployment", "agent", "Progressing", "False", "PolicyNotVerified")
    assert "cartpole-7" in message
    agent.deciding("cartpole-1", 2)
    agent.patch("agentdeployment", "agent", {"policyVersion": "cartpole-1"})


def test_a_person_takes_over_and_hands_back_while_the_operator_is_dead(agent: World) -> None:
    agent.patch("agentdeployment", "agent", {"fallback": {"action": [1]}})
    agent.until_condition("agentdeployment", "agent", "Ready", "True")
    system = ("-n", "checkrein-system")
    agent.cluster.kubectl(*system, "scale", "deployment/checkrein-operator", "--replicas=0")
    gone = ("wait", "--for=delete", "pod", "-l", "app.kubernetes.io/component=operator", "--timeout=180s")
    agent.cluster.kubectl(*system, *gone, seconds=200)
    try:
        person = json.loads(agent.kubectl("auth", "whoami", "-o", "json"))["status"]["userInfo"]["username"]
        override = {"mode": "Pin", "policyVersion": "cartpole-2", "reason": "a test", "by": person}
        agent.patch("agentdeployment", "agent", {"override": {**override, "until": "2999-01-01T00:00:00Z"}})
        assert "policies cartpole-2" in play(agent, "play-pinned")
    finally:
        agent.cluster.kubectl(*system, "scale", "deployment/checkrein-operator", "--replicas=2")
    message = agent.until_condition("agentdeployment", "agent", "Overridden", "True", "Pin")
    assert person in message
    assert agent.get("agentdeployment", "agent")["status"]["phase"] == "Overridden"
    agent.patch("agentdeployment", "agent", {"override": None})
    agent.until_condition("agentdeployment", "agent", "Overridden", "False", "Lifted")
    assert "policies cartpole-1" in play(agent, "play-handed-back")


def test_an_override_needs_a_right_of_its_own(agent: World) -> None:
    agent.kubectl("create", "serviceaccount", "editor")
    agent.kubectl("create", "rolebinding", "editor", "--clusterrole=edit", f"--serviceaccount={agent.name}:editor")
    patch = {"override": {"mode": "Stop", "reason": "r", "by": f"system:serviceaccount:{agent.name}:editor"}}
    change = ("patch", "agentdeployment", "agent", "--type=merge", "-p", json.dumps({"spec": patch}))
    # Until the API server knows of the binding, it refuses for want of that.
    agent.until_refused((*change, f"--as=system:serviceaccount:{agent.name}:editor"), "", "agentdeployments/override")


def test_a_killed_replica_comes_back_and_decides_by_the_stable_version(agent: World) -> None:
    old = pods(agent)
    agent.kubectl("delete", "pod", "agent-agent-0", "--grace-period=0", "--force")
    agent.until("pod", "agent-agent-0", lambda o: o["metadata"]["uid"] not in {uid for uid, _ in old}, "replaced")
    agent.deciding("cartpole-1", 2)


def test_kubectl_scale_scales(agent: World) -> None:
    agent.kubectl("scale", "agentdeployment", "agent", "--replicas=1")
    agent.deciding("cartpole-1", 1)


def test_bytes_that_changed_on_the_stores_disk_never_decide(agent: World) -> None:
    """Last in this module: the second version is spoilt for good."""
    artifact = agent.get("policyversion", "cartpole-2")["spec"]["artifact"]
    folder = f"/data/{artifact['bucket']}/{artifact['key']}"
    spoil = f"f=$(find {folder} -type f | head -n 1); head -c 100 /dev/zero >> $f; sed -i s/sha256/sha257/g $f"
    agent.cluster.kubectl("-n", "checkrein-system", "exec", "minio-0", "--", "sh", "-c", spoil)
    agent.until_condition("policyversion", "cartpole-2", "Verified", "Unknown", "StoreUnavailable")
    agent.patch("agentdeployment", "agent", {"policyVersion": "cartpole-2"})
    agent.until_condition("agentdeployment", "agent", "Progressing", "False", "PolicyNotVerified")
    agent.deciding("cartpole-1", 1)
    assert "policies cartpole-1" in play(agent, "play-after")
