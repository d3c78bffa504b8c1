"""A replica as the operator and its callers see it: real process, real API server, real store."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from tests.agent import graphs
from tests.agent.conftest import StartReplica
from tests.agent.installation import CALLER, NAME, Deployment, Library
from tests.agent.proxy import Proxy
from tests.agent.replica import OBSERVATION, Replica
from tests.agent.test_messages import BAD
from tests.cluster.controlplane import ControlPlane
from tests.cluster.processes import State
from tests.cluster.steps import ClusterError, wait_until

pytestmark = [pytest.mark.controlplane, pytest.mark.store]
Deploy = Callable[..., Deployment]


@pytest.fixture
def deployment(deploy: Deploy, library: Library) -> Deployment:
    """One that anybody may ask, whose stable policy always answers 0."""
    made = deploy()
    made.set_status(1, library.publish("cartpole-1", graphs.always(0)))
    return made


@pytest.fixture
def replica(deployment: Deployment, start: StartReplica) -> Replica:
    made = start(deployment)
    made.wait_acting("cartpole-1")
    return made


def test_is_ready_only_after_a_stable_policy_is_loaded(deploy: Deploy, start: StartReplica, library: Library) -> None:
    deployment = deploy()
    replica = start(deployment)
    replica.wait(lambda report: report.generation > 0)
    assert replica.get("/livez").status_code == 200
    refusal = replica.get("/readyz")
    assert (refusal.status_code, refusal.headers["retry-after"]) == (503, "1")
    assert replica.post({"observation": OBSERVATION}).status_code == 503

    deployment.set_status(1, library.publish("cartpole-1", graphs.always(0)))
    report = replica.wait_acting("cartpole-1")
    assert (report.epoch, [p.ready for p in report.policies]) == (1, [True])
    assert replica.get("/readyz").status_code == 200
    answer = replica.act()
    assert answer.keys() == {"action", "episode", "decision", "policy", "regime", "explored", "shielded"}
    assert (answer["action"], answer["policy"], answer["explored"], answer["shielded"]) == (0, "cartpole-1", 0, 0)


def test_an_episode_from_its_first_decision_to_its_end(replica: Replica) -> None:
    first = replica.act()
    second = replica.act(first["episode"], reward=1.0)
    again = replica.act(first["episode"], reward=1.0)
    assert second["decision"] == again["decision"] != first["decision"]
    ended = replica.post({"episode": second["episode"], "reward": 1.0, "terminated": True})
    assert (ended.status_code, ended.json()) == (200, {"ended": "terminated", "steps": 2, "policy": "cartpole-1"})


def test_a_switch_and_a_rollback_reach_new_episodes_at_once_and_running_ones_never(
    replica: Replica, deployment: Deployment, library: Library
) -> None:
    old, new = (library.publish(f"cartpole-{n}", graphs.always(n - 1)) for n in (1, 2))
    pid = replica.process.identity.pid
    running = replica.act()
    deployment.set_status(2, old, new)
    report = replica.wait(lambda r: any(p.name == "cartpole-2" and p.ready for p in r.policies))
    assert (report.acting, replica.act()["policy"]) == ("cartpole-1", "cartpole-1")

    deployment.set_status(3, new)
    assert replica.wait_acting("cartpole-2").epoch == 3
    fresh, continued = replica.act(), replica.act(running["episode"])
    assert [(a["action"], a["policy"]) for a in (fresh, continued)] == [(1, "cartpole-2"), (0, "cartpole-1")]

    deployment.set_status(4, old)
    replica.wait_acting("cartpole-1")
    assert [replica.act(t)["policy"] for t in (None, fresh["episode"])] == ["cartpole-1", "cartpole-2"]
    assert replica.process.identity.pid == pid
    assert replica.process.alive()


def test_a_lower_epoch_is_ignored(replica: Replica, deployment: Deployment, library: Library) -> None:
    first, second, third = (library.publish(f"cartpole-{n}", graphs.always(n % 2)) for n in (1, 2, 3))
    deployment.set_status(5, second)
    replica.wait_acting("cartpole-2")
    deployment.set_status(4, first)
    deployment.set_status(6, second, third)  # heard after the stale word
    report = replica.wait(lambda r: {"cartpole-2", "cartpole-3"} <= {p.name for p in r.policies})
    assert (report.acting, report.epoch) == ("cartpole-2", 6)
    assert "ignored an older word: generation 1, epoch 4" in replica.process.log.read_text()


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        pytest.param(
            lambda library: library.tampered(library.publish("bad-1", graphs.always(1))),
            "DigestMismatch",
            id="whose bytes were changed",
        ),
        pytest.param(
            lambda library: library.publish("bad-1", graphs.steady(0.0), graphs.CONTINUOUS),
            "InterfaceMismatch",
            id="for another environment",
        ),
        pytest.param(
            lambda library: library.publish("bad-1", graphs.always(0, observations=5)),
            "InterfaceMismatch",
            id="whose graph is not what its manifest says",
        ),
        pytest.param(
            lambda library: library.publish("bad-1", graphs.always(2, actions=3)),
            "WarmUpFailed",
            id="that takes an action that does not exist",
        ),
    ],
)
def test_a_policy_is_refused_and_the_old_one_goes_on(
    replica: Replica, deployment: Deployment, library: Library, prepare: Callable[[Library], Any], reason: str
) -> None:
    bad, good = prepare(library), library.publish("cartpole-1", graphs.always(0))
    deployment.set_status(2, good, bad)
    assert replica.wait_refused("bad-1") == reason
    deployment.set_status(3, bad)  # even where a word says that it is stable
    report = replica.wait(lambda r: [p.name for p in r.policies] == ["bad-1", "cartpole-1"])  # the old one, still held
    assert (report.acting, report.policies[0].reason, replica.act()["policy"]) == ("cartpole-1", reason, "cartpole-1")


def test_a_policy_that_emits_nan_is_refused(deploy: Deploy, start: StartReplica, library: Library) -> None:
    deployment = deploy()
    deployment.set_status(1, library.publish("nan-1", graphs.steady(float("nan")), graphs.CONTINUOUS))
    replica = start(deployment)
    assert replica.wait_refused("nan-1") == "WarmUpFailed"
    assert replica.get("/readyz").status_code == 503
    deployment.set_status(2, library.publish("good-1", graphs.steady(0.5), graphs.CONTINUOUS))
    replica.wait_acting("good-1")
    assert replica.act(observation=[1, 2, 3])["action"] == [0.5]


def test_a_store_that_is_away_does_not_hold_up_decisions(
    replica: Replica, deployment: Deployment, library: Library
) -> None:
    old, new = (library.publish(f"cartpole-{n}", graphs.always(n - 1)) for n in (1, 2))
    policies = library.minio
    policies.stop()
    try:
        deployment.set_status(2, old, new)
        report = replica.wait(lambda r: any(p.reason == "StoreUnavailable" for p in r.policies))
        assert [p.permanent for p in report.policies] == [False, False]
        assert replica.act()["policy"] == "cartpole-1"
    finally:
        policies.start()
    replica.wait(lambda r: [p.ready for p in r.policies] == [True, True])


def test_replicas_share_episodes(deployment: Deployment, start: StartReplica, library: Library) -> None:
    one = start(deployment)
    one.wait_acting("cartpole-1")
    before = one.act()
    deployment.set_status(2, library.publish("cartpole-2", graphs.always(1)))
    one.wait_acting("cartpole-2")
    other = start(deployment, token_key=one.token_key)
    other.wait_acting("cartpole-2")

    fresh = one.act()
    assert other.act(fresh["episode"])["decision"] == one.act(fresh["episode"])["decision"]
    moved = other.act(before["episode"])
    assert moved["policy"] == "cartpole-2", "a replica without the episode's policy goes on under the stable one"
    assert one.act(moved["episode"])["policy"] == "cartpole-2", "and the episode does not go back"
    stranger = start(deployment)
    stranger.wait_acting("cartpole-2")
    refusal = stranger.post({"observation": OBSERVATION, "episode": fresh["episode"]})
    assert (refusal.status_code, refusal.json()["field"]) == (400, "episode")


def test_auth(deploy: Deploy, start: StartReplica, library: Library) -> None:
    deployment, elsewhere = deploy(auth={"mode": "ServiceAccount"}), deploy()
    deployment.set_status(1, library.publish("cartpole-1", graphs.always(0)))
    replica = start(deployment)
    replica.wait_acting("cartpole-1")
    good = deployment.token()
    guest = elsewhere.token()
    cases = {
        "a token of this namespace": (good, 200),
        "the same token again": (good, 200),
        "no token": ("", 401),
        "no token at all": ("abc", 401),
        "another audience": (deployment.token(audience="vault"), 401),
        "the API server's audience": (deployment.token(audience=""), 401),
        "another namespace": (guest, 403),
        "a changed signature": (good[:-8] + "AAAAAAAA", 401),
        "expired": (_expired(deployment, good), 401),
    }
    answers = {
        name: replica.post({"observation": OBSERVATION}, token=token).status_code for name, (token, _) in cases.items()
    }
    assert answers == {name: status for name, (_, status) in cases.items()}

    caller = f"system:serviceaccount:{elsewhere.namespace}:{CALLER}"
    deployment.set_spec({"auth": {"mode": "ServiceAccount", "callers": [caller]}})
    replica.wait(lambda report: report.generation == 2)
    assert [replica.post({"observation": OBSERVATION}, token=t).status_code for t in (guest, good)] == [200, 403]
    deployment.set_spec({"auth": {"mode": "None"}})
    replica.wait(lambda report: report.generation == 3)
    assert replica.post({"observation": OBSERVATION}).status_code == 200


def _expired(deployment: Deployment, token: str) -> str:
    """The same claims and key, but an hour ago."""
    claims = jwt.decode(token, options={"verify_signature": False})
    hour_ago = int(time.time()) - 3600
    claims |= {"exp": hour_ago, "iat": hour_ago - 600, "nbf": hour_ago - 600}
    key = (deployment.controlplane.state.path / "pki" / "sa.key").read_bytes()
    return jwt.encode(claims, key, "RS256", headers={"kid": jwt.get_unverified_header(token)["kid"]})


def test_bad_requests_over_http(replica: Replica) -> None:
    for case, (body, slug, field) in BAD.items():
        if len(body) > 10_000:
            continue  # refused by its size, below
        answer = replica.post(content=body)
        document = answer.json()
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), case
        assert (document["type"].rpartition("/")[2], document.get("field", "")) == (slug, field), case
    assert replica.post(content=b" " * 100_000).status_code == 413
    assert replica.post(content=iter([b" " * 10_000] * 10)).status_code == 413
    forged = replica.post({"observation": OBSERVATION, "episode": "forged"})
    assert (forged.status_code, forged.json()["field"]) == (400, "episode")
    assert replica.request("POST", "/v1/other").status_code == 404
    wrong = replica.request("GET", "/v1/act")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert replica.act()["action"] == 0
    exposition = replica.get("/metrics").text
    assert 'checkrein_agent_refusals_total{problem="too-large"} 2.0' in exposition
    labels = 'arm="stable",outcome="decided",policy="cartpole-1",regime="Policy"'
    assert f"checkrein_agent_decisions_total{{{labels}}} 1.0" in exposition
    assert "checkrein_agent_epoch 1.0" in exposition


def test_an_api_server_that_comes_back_is_heard_again(
    deployment: Deployment, start: StartReplica, library: Library
) -> None:
    config = json.loads(deployment.controlplane.kubeconfig.read_text())
    proxy = Proxy(config["clusters"][0]["cluster"]["server"])
    replica = start(deployment, api_server=proxy.url)
    replica.wait_acting("cartpole-1")
    proxy.cut()
    deployment.set_status(2, library.publish("cartpole-2", graphs.always(1)))
    assert [replica.act()["policy"] for _ in range(50)] == ["cartpole-1"] * 50
    assert replica.get("/readyz").status_code == 200
    proxy.open()
    replica.wait_acting("cartpole-2")


@pytest.fixture
def doomed(swept: None) -> Iterator[ControlPlane]:
    """A control plane of its own, to be killed."""
    state = State.create(f"doomed-{secrets.token_hex(4)}", owned=True)
    try:
        yield ControlPlane(state)
    finally:
        state.remove()


def test_decides_after_the_api_server_was_killed(doomed: ControlPlane, start: StartReplica, library: Library) -> None:
    doomed.kubectl.apply_crds()
    deployment = Deployment(doomed, "agents", {"auth": {"mode": "ServiceAccount"}})
    deployment.set_status(1, library.publish("cartpole-1", graphs.always(0)))
    replica = start(deployment)
    replica.wait_acting("cartpole-1")
    token = deployment.token()
    assert replica.post({"observation": OBSERVATION}, token=token).status_code == 200
    unseen = deployment.token()
    doomed.apiserver.kill()
    wait_until(
        lambda: "watch interrupted" in replica.process.log.read_text(), 60, otherwise=lambda: ClusterError("unnoticed")
    )
    answers = [replica.post({"observation": OBSERVATION}, token=t).status_code for t in (token, unseen, "")]
    assert answers == [200, 200, 401], "keys that were fetched once verify new tokens too"
    assert replica.get("/readyz").status_code == 200


def test_sigterm_finishes_what_was_begun(replica: Replica) -> None:
    body = json.dumps({"observation": OBSERVATION}).encode()
    head = f"POST /v1/act HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", replica.port)) as connection:
        connection.sendall(head + body[:5])
        os.kill(replica.process.identity.pid, signal.SIGTERM)
        wait_until(lambda: replica.get("/readyz").status_code == 503, 90, otherwise=lambda: ClusterError("still ready"))
        connection.sendall(body[5:])
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer
    with pytest.raises(ClusterError, match="exit code 0"):
        replica.process.wait_ready(lambda: False)


def test_an_agent_that_lacks_its_key_says_so(deployment: Deployment, start: StartReplica) -> None:
    replica = start(deployment, token_key=b"short")
    with pytest.raises(ClusterError, match="exit code 1"):
        replica.process.wait_ready(lambda: False)
    assert "token key key has 5 bytes, it needs at least 32" in replica.process.log.read_text()


def test_the_object_watched_is_its_own_alone(deployment: Deployment, replica: Replica, library: Library) -> None:
    other = deployment.kubectl.get("agentdeployment", NAME, namespace=deployment.namespace)
    other["metadata"] = {"name": "other", "namespace": deployment.namespace}
    other.pop("status")
    deployment.kubectl.apply(other, namespace=deployment.namespace)
    deployment.set_status(2, library.publish("cartpole-2", graphs.always(1)))
    report = replica.wait_acting("cartpole-2")
    assert report.generation == 1
    assert "403" not in replica.process.log.read_text()
