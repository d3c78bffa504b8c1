"""`/v1/stream` as callers see it: real replicas, a real WebSocket client."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from typing import Any

import pytest
from tests.agent import graphs
from tests.agent.conftest import StartReplica
from tests.agent.installation import CALLER, Deployment, Library
from tests.agent.replica import LONG_DRAIN, OBSERVATION, Replica
from tests.agent.test_messages import BAD
from tests.agent.test_server import Deploy
from tests.cluster.steps import ClusterError, wait_until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

pytestmark = [pytest.mark.controlplane, pytest.mark.store]


def stream(replica: Replica, token: str = "", path: str = "/v1/stream") -> ClientConnection:
    headers = {"authorization": f"Bearer {token}"} if token else None
    return connect(f"ws://127.0.0.1:{replica.port}{path}", additional_headers=headers, proxy=None, open_timeout=60)


def ask(connection: ClientConnection, **message: Any) -> dict[str, Any]:
    connection.send(json.dumps(message))
    answer: dict[str, Any] = json.loads(connection.recv(30))
    return answer


def test_an_episode_has_the_same_messages_as_over_http(standing: Replica) -> None:
    with stream(standing) as connection:
        first = ask(connection, observation=OBSERVATION)
        second = ask(connection, observation=OBSERVATION, reward=1.0, episode=first["episode"])
        over_http = standing.act(first["episode"], reward=1.0)
        assert first.keys() == second.keys() == over_http.keys()
        assert second["decision"] == over_http["decision"] != first["decision"]
        ended = ask(connection, reward=1.0, episode=second["episode"], terminated=True)
    assert (ended["ended"], ended["steps"]) == ("terminated", 2)


def test_messages_that_are_sent_ahead_are_answered_in_order(standing: Replica) -> None:
    with stream(standing) as connection:
        episode = ask(connection, observation=OBSERVATION)["episode"]
        for message in ({"observation": OBSERVATION}, {"observation": 1}, {"episode": episode, "aborted": True}):
            connection.send(json.dumps(message))
        answers = [json.loads(connection.recv(30)) for _ in range(3)]
    assert [next(iter(a)) for a in answers] == ["action", "type", "ended"]


def test_bad_messages_are_answered_with_the_problems_of_http_and_the_conversation_goes_on(standing: Replica) -> None:
    with stream(standing) as connection:
        for case, (body, slug, field) in BAD.items():
            if len(body) > 10_000:
                continue
            connection.send(body)  # a binary frame: not all of them are text
            answer = json.loads(connection.recv(30))
            assert (answer["status"], answer["type"].rpartition("/")[2], answer.get("field", "")) == (
                400,
                slug,
                field,
            ), case
        assert ask(connection, observation=OBSERVATION)["action"] == 0


def test_a_message_larger_than_any_valid_one_ends_the_conversation(standing: Replica) -> None:
    with stream(standing) as connection:
        connection.send(b" " * 100_000)
        with pytest.raises(ConnectionClosed):
            connection.recv(30)
    assert connection.close_code == 1009
    assert standing.act()["action"] == 0


def test_a_plain_request_is_told_what_is_spoken_here(standing: Replica) -> None:
    answer = standing.request("GET", "/v1/stream")
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")


@pytest.fixture
def guarded(deploy: Deploy, library: Library) -> Deployment:
    made = deploy(auth={"mode": "ServiceAccount"})
    made.set_status(1, library.publish("cartpole-1", graphs.always(0)))
    return made


def test_who_may_not_ask_is_refused_in_the_handshake(deploy: Deploy, guarded: Deployment, start: StartReplica) -> None:
    replica = start(guarded)
    replica.wait_acting("cartpole-1")
    refused = {}
    for token in ("", "nonsense", deploy().token()):
        with pytest.raises(InvalidStatus) as caught:
            stream(replica, token)
        refused[token] = caught.value.response
    assert [r.status_code for r in refused.values()] == [401, 401, 403]
    for response in refused.values():
        assert json.loads(response.body or b"")["status"] == response.status_code
    with stream(replica, guarded.token()) as connection:
        assert ask(connection, observation=OBSERVATION)["action"] == 0


def test_who_may_no_longer_ask_is_told_at_the_next_message(guarded: Deployment, start: StartReplica) -> None:
    replica = start(guarded)
    replica.wait_acting("cartpole-1")
    with stream(replica, guarded.token()) as connection:
        assert ask(connection, observation=OBSERVATION)["action"] == 0
        guarded.set_spec({"auth": {"mode": "ServiceAccount", "callers": [f"system:serviceaccount:other:{CALLER}"]}})
        replica.wait(lambda report: report.generation == 2)
        assert ask(connection, observation=OBSERVATION)["status"] == 403
        with pytest.raises(ConnectionClosed):
            connection.recv(30)
    assert connection.close_code == 1008


def test_a_replica_that_cannot_decide_yet_refuses_the_handshake(deploy: Deploy, start: StartReplica) -> None:
    replica = start(deploy())
    replica.wait(lambda report: report.generation > 0)
    with pytest.raises(InvalidStatus) as caught:
        stream(replica)
    assert (caught.value.response.status_code, caught.value.response.headers["retry-after"]) == (503, "1")


def test_a_replica_that_stops_says_goodbye(guarded: Deployment, start: StartReplica) -> None:
    replica = start(guarded, env=LONG_DRAIN)
    replica.wait_acting("cartpole-1")
    token = guarded.token()
    with stream(replica, token) as idle, stream(replica, token) as asking:
        episode = ask(asking, observation=OBSERVATION)["episode"]
        os.kill(replica.process.identity.pid, signal.SIGTERM)
        wait_until(lambda: replica.get("/readyz").status_code == 503, 90, otherwise=lambda: ClusterError("still ready"))
        with contextlib.suppress(ConnectionClosed):  # it may be quicker
            assert "action" in ask(asking, observation=OBSERVATION, episode=episode)
        for connection in (idle, asking):
            with pytest.raises(ConnectionClosed):
                connection.recv(30)
            assert connection.close_code == 1001
    with pytest.raises(ClusterError, match="exit code 0"):
        replica.process.wait_ready(lambda: False)
