"""What the clients make of answers, what they ask again, and what they never send twice."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from tests.client.blocking import CLIENTS, Client
from tests.client.scripted import Scripted, decision, fields, http, problem
from tests.cluster.processes import free_port

from checkrein.client import errors
from checkrein.client.errors import AgentError, refusal
from checkrein.client.messages import jsonable


@pytest.fixture(params=CLIENTS)
def connect(request: pytest.FixtureRequest) -> Client:
    return CLIENTS[request.param]


@pytest.mark.parametrize(
    ("status", "slug", "wanted"),
    [
        pytest.param(400, "out-of-space", errors.InvalidRequestError, id="a bad observation"),
        pytest.param(400, "unknown-episode", errors.UnknownEpisodeError, id="a token of somebody else"),
        pytest.param(413, "too-large", errors.InvalidRequestError, id="too large"),
        pytest.param(401, "unauthenticated", errors.UnauthenticatedError, id="no token"),
        pytest.param(403, "forbidden", errors.ForbiddenError, id="not allowed"),
        pytest.param(409, "shielded", errors.ConflictError, id="the shield lets nothing through"),
        pytest.param(503, "stopped", errors.StoppedError, id="a person said stop"),
        pytest.param(429, "limited", errors.LimitedError, id="over the limit"),
        pytest.param(503, "not-ready", errors.NotReadyError, id="not ready"),
        pytest.param(500, "policy-failed", errors.AgentFailedError, id="the policy failed"),
    ],
)
def test_every_problem_becomes_one_error(connect: Client, status: int, slug: str, wanted: type[AgentError]) -> None:
    document = {"type": f"https://checkrein.dev/problems/{slug}", "detail": "why", "field": "observation[1]"}
    error = refusal(status, json.dumps(document).encode(), "http://x", "2")
    assert type(error) is wanted
    assert (str(error), error.problem, error.field, error.status) == ("why", slug, "observation[1]", status)
    assert error.retry_after == 2


def test_an_episode_past_its_deadline_has_ended() -> None:
    document = {"type": "https://checkrein.dev/problems/episode-expired", "detail": "why"}
    error = refusal(400, json.dumps(document).encode(), "http://x")
    assert isinstance(error, errors.EpisodeEndedError)
    assert error.ending == "deadline"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"\xff", b""])
def test_an_answer_of_somebody_else_is_an_error_too(body: bytes) -> None:
    error = refusal(502, body, "http://x/v1/act", "Wed, 21 Oct 2026 07:28:00 GMT")
    assert type(error) is errors.AgentFailedError
    assert "HTTP 502 from http://x/v1/act" in str(error)
    assert (error.status, error.retry_after) == (502, 0)


def test_an_episode_carries_its_token_and_rewards(connect: Client) -> None:
    server = Scripted(decision(1), decision(2), http(200, {"ended": "terminated", "steps": 2, "policy": "p-1"}))
    with connect(server.url) as client, client.episode() as episode:
        assert episode.act(np.zeros(2, np.float32)).action == 1
        assert episode.act([1.0, 2.0], reward=0.5).action == 2
        episode.end("terminated", reward=1)
    server.finish()
    assert server.bodies == [
        {"observation": [0.0, 0.0]},
        {"observation": [1.0, 2.0], "episode": "token-1", "reward": 0.5},
        {"episode": "token-2", "terminated": True, "reward": 1.0},
    ]


def test_an_episode_that_is_left_is_aborted(connect: Client) -> None:
    server = Scripted(decision(1), http(200, {"ended": "aborted", "steps": 1, "policy": "p-1"}))
    with connect(server.url) as client, suppress(KeyError), client.episode() as episode:
        episode.act(0)
        raise KeyError
    server.finish()
    assert server.bodies[1] == {"episode": "token-1", "aborted": True}


def test_an_episode_without_a_decision_has_no_end_to_tell(connect: Client) -> None:
    with connect(f"http://127.0.0.1:{free_port()}", wait=0) as client, client.episode():
        pass


def test_not_ready_is_tried_again(connect: Client) -> None:
    server = Scripted(problem(503, "not-ready"), problem(503, "no-keys"), decision())
    with connect(server.url) as client:
        assert client.act([1]).policy == "p-1"
    server.finish()
    assert server.bodies == [{"observation": [1]}] * 3


def test_a_refused_connection_is_tried_again(connect: Client) -> None:
    port, servers = free_port(), []
    timer = threading.Timer(0.3, lambda: servers.append(Scripted(decision(), port=port)))
    timer.start()
    with connect(f"http://127.0.0.1:{port}") as client:
        assert client.act([1]).action == 1
    timer.join()
    assert len(servers[0].bodies) == 1


@pytest.mark.parametrize(
    "lost",
    [
        pytest.param(None, id="the connection is closed after the request was read"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-le", id="the answer is cut"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", id="the body is cut"),
    ],
)
def test_a_step_whose_answer_was_lost_is_asked_again_unchanged(connect: Client, lost: bytes | None) -> None:
    server = Scripted(decision(1), lost, decision(2), lost, http(200, {"ended": "truncated", "steps": 2, "policy": ""}))
    with connect(server.url) as client, client.episode() as episode:
        episode.act([1])
        assert episode.act([2], 0.5, cost=1, objective=2).action == 2
        episode.end("truncated", 1)
    server.finish()
    step = {"observation": [2], "episode": "token-1", "reward": 0.5, "cost": 1.0, "objective": 2.0}
    end = {"episode": "token-2", "truncated": True, "reward": 1.0}
    assert server.bodies == [{"observation": [1]}, step, step, end, end]


def test_an_outcome_that_may_have_arrived_is_not_told_again(connect: Client) -> None:
    server = Scripted(problem(503, "not-ready"), None, http(202, {"recorded": True}))
    with connect(server.url) as client:
        with pytest.raises(errors.UnreachableError) as caught:
            client.outcome(episode="t", reward=2.5, final=True)
        assert caught.value.decided
        client.outcome(decision="d", cost=1)
    server.finish()
    assert server.bodies == [{"episode": "t", "reward": 2.5, "final": True}] * 2 + [{"decision": "d", "cost": 1.0}]
    assert server.paths == ["/v1/outcomes"] * 3


def test_an_outcome_names_what_it_is_of(connect: Client) -> None:
    with connect("http://127.0.0.1:1") as client, pytest.raises(errors.InvalidRequestError, match="name the episode"):
        client.outcome(reward=1)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        pytest.param(problem(500, "internal"), errors.AgentFailedError, id="the server failed"),
        pytest.param(problem(400, "out-of-space"), errors.InvalidRequestError, id="the request is at fault"),
        pytest.param(problem(409, "state-elsewhere"), errors.ConflictError, id="another replica remembers"),
        pytest.param(problem(503, "stopped"), errors.StoppedError, id="a person said stop"),
        pytest.param(http(502, {}), errors.AgentFailedError, id="a proxy failed"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]", AgentError, id="somebody else answered"),
    ],
)
def test_an_answer_is_final(connect: Client, answer: bytes, wanted: type[AgentError]) -> None:
    server = Scripted(answer, decision())
    with connect(server.url) as client:
        with pytest.raises(wanted):
            client.act([1])
        assert client.act([2]).action == 1  # the script's last answer, to the next request
    assert [body["observation"] for body in server.bodies] == [[1], [2]]


def test_over_the_limit_is_tried_again(connect: Client) -> None:
    server = Scripted(http(429, {"detail": "slow down"}, retry_after="0.01"), decision())
    with connect(server.url) as client:
        assert client.act([1]).action == 1
    server.finish()


def test_a_wait_that_ends_too_late_is_not_begun(connect: Client) -> None:
    server = Scripted(http(429, {"detail": "slow down"}, retry_after="3600"))
    with connect(server.url) as client, pytest.raises(errors.LimitedError, match="slow down") as caught:
        client.act([1])
    assert caught.value.retry_after == 3600


def test_an_episode_that_the_agent_ended_is_not_aborted(connect: Client) -> None:
    server = Scripted(decision(1), http(200, {"ended": "shield", "steps": 1, "policy": "p-1"}))
    with connect(server.url) as client, client.episode() as episode:
        episode.act([1])
        with pytest.raises(errors.EpisodeEndedError) as caught:
            episode.act([2])
    assert caught.value.ending == "shield"
    server.finish()


def test_who_decided_is_told(connect: Client) -> None:
    server = Scripted(http(200, fields() | {"regime": "Fallback", "policy": "", "later": "member"}))
    with connect(server.url) as client:
        decided = client.act([1])
    assert (decided.regime, decided.policy) == ("Fallback", "")


@pytest.mark.parametrize("url", ["agent", "ftp://agent", "http://"])
@pytest.mark.parametrize("stream", [False, True], ids=["http", "stream"])
def test_an_address_that_is_none_is_refused_at_once(connect: Client, url: str, stream: bool) -> None:
    with pytest.raises(ValueError, match="must start with http"):
        connect(url, stream=stream)


def test_gives_up_on_an_agent_that_is_not_there(connect: Client) -> None:
    with (
        connect(f"http://127.0.0.1:{free_port()}", wait=0.2) as client,
        pytest.raises(errors.UnreachableError, match="cannot be reached") as caught,
    ):
        client.act([1])
    assert not caught.value.decided


def test_a_token_file_is_read_for_each_request(connect: Client, tmp_path: Path) -> None:
    file = tmp_path / "token"
    server = Scripted(decision(), decision(), decision())
    with connect(server.url, file) as client:
        for content in ("one", "two\n"):
            file.write_text(content)
            client.act([1])
    with connect(server.url, lambda: "three") as client:
        client.act([1])
    assert server.tokens == ["bearer one", "bearer two", "bearer three"]


def test_observations_become_json() -> None:
    assert jsonable(np.int64(3)) == 3
    assert jsonable(np.array([True, False])) == [1, 0]
    assert jsonable(np.array([[0.5]], np.float32)) == [[0.5]]
    assert jsonable({"speed": np.float32(0.5), "camera": np.zeros((1, 2), np.uint8)}) == {
        "speed": 0.5,
        "camera": [[0, 0]],
    }
    with pytest.raises(errors.InvalidRequestError, match=r"observation\.speed"):
        jsonable({"speed": float("nan")})
    for value in (float("nan"), [1.0, float("inf")]):
        with pytest.raises(errors.InvalidRequestError) as caught:
            jsonable(value)
        assert caught.value.field == "observation"
