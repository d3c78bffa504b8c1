"""What the client makes of answers, and what it never sends twice."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.client.scripted import Scripted, decision, http, problem
from tests.cluster.processes import free_port

from checkrein.client import AgentClient, errors
from checkrein.client.agent import jsonable
from checkrein.client.errors import AgentError, from_response


@pytest.mark.parametrize(
    ("status", "slug", "wanted"),
    [
        pytest.param(400, "out-of-space", errors.InvalidRequestError, id="a bad observation"),
        pytest.param(400, "unknown-episode", errors.UnknownEpisodeError, id="a token of somebody else"),
        pytest.param(413, "too-large", errors.InvalidRequestError, id="too large"),
        pytest.param(401, "unauthenticated", errors.UnauthenticatedError, id="no token"),
        pytest.param(403, "forbidden", errors.ForbiddenError, id="not allowed"),
        pytest.param(503, "not-ready", errors.NotReadyError, id="not ready"),
        pytest.param(500, "policy-failed", errors.AgentFailedError, id="the policy failed"),
    ],
)
def test_every_problem_becomes_one_error(status: int, slug: str, wanted: type[AgentError]) -> None:
    document = {"type": f"https://checkrein.dev/problems/{slug}", "detail": "why", "field": "observation[1]"}
    error = from_response(httpx.Response(status, json=document))
    assert type(error) is wanted
    assert (str(error), error.problem, error.field, error.status) == ("why", slug, "observation[1]", status)


@pytest.mark.parametrize("text", ["<html>", "[]", "\xff", ""])
def test_an_answer_of_somebody_else_is_an_error_too(text: str) -> None:
    response = httpx.Response(502, text=text, request=httpx.Request("POST", "http://x/v1/act"))
    error = from_response(response)
    assert type(error) is errors.AgentFailedError
    assert "HTTP 502 from http://x/v1/act" in str(error)


def test_an_episode_carries_its_token_and_rewards() -> None:
    server = Scripted(decision(1), decision(2), http(200, {"ended": "terminated", "steps": 2, "policy": "p-1"}))
    with AgentClient(server.url) as client, client.episode() as episode:
        assert episode.act(np.zeros(2, np.float32)).action == 1
        assert episode.act([1.0, 2.0], reward=0.5).action == 2
        episode.end("terminated", reward=1)
    server.finish()
    assert server.bodies == [
        {"observation": [0.0, 0.0]},
        {"observation": [1.0, 2.0], "episode": "token-1", "reward": 0.5},
        {"episode": "token-2", "terminated": True, "reward": 1.0},
    ]


def test_an_episode_that_is_left_is_aborted() -> None:
    server = Scripted(decision(1), http(200, {"ended": "aborted", "steps": 1, "policy": "p-1"}))
    with AgentClient(server.url) as client, suppress(KeyError), client.episode() as episode:
        episode.act(0)
        raise KeyError
    server.finish()
    assert server.bodies[1] == {"episode": "token-1", "aborted": True}


def test_an_episode_without_a_decision_has_no_end_to_tell() -> None:
    with AgentClient(f"http://127.0.0.1:{free_port()}", wait=0) as client, client.episode():
        pass


def test_not_ready_is_tried_again() -> None:
    server = Scripted(problem(503, "not-ready"), problem(503, "no-keys"), decision())
    with AgentClient(server.url) as client:
        assert client.act([1]).policy == "p-1"
    server.finish()
    assert server.bodies == [{"observation": [1]}] * 3


def test_a_refused_connection_is_tried_again() -> None:
    port, servers = free_port(), []
    timer = threading.Timer(0.3, lambda: servers.append(Scripted(decision(), port=port)))
    timer.start()
    with AgentClient(f"http://127.0.0.1:{port}") as client:
        assert client.act([1]).action == 1
    assert len(servers[0].bodies) == 1


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        pytest.param(None, errors.UnreachableError, id="the connection is closed after the request was read"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-le", errors.UnreachableError, id="the answer is cut"),
        pytest.param(problem(500, "internal"), errors.AgentFailedError, id="the server failed"),
        pytest.param(problem(400, "out-of-space"), errors.InvalidRequestError, id="the request is at fault"),
        pytest.param(http(502, {}), errors.AgentFailedError, id="a proxy failed"),
    ],
)
def test_what_may_have_been_decided_is_never_sent_again(answer: bytes | None, wanted: type[AgentError]) -> None:
    server = Scripted(answer, decision())
    with AgentClient(server.url) as client:
        with pytest.raises(wanted) as caught:
            client.act([1])
        assert getattr(caught.value, "decided", True)
        assert len(server.bodies) == 1
        assert client.act([2]).action == 1  # the script's last answer, to the next request
    assert [body["observation"] for body in server.bodies] == [[1], [2]]


def test_gives_up_on_an_agent_that_is_not_there() -> None:
    with (
        AgentClient(f"http://127.0.0.1:{free_port()}", wait=0.2) as client,
        pytest.raises(errors.UnreachableError, match="cannot be reached") as caught,
    ):
        client.act([1])
    assert not caught.value.decided


def test_a_token_file_is_read_for_each_request(tmp_path: Path) -> None:
    file = tmp_path / "token"
    server = Scripted(decision(), decision(), decision())
    with AgentClient(server.url, file) as client:
        for content in ("one", "two\n"):
            file.write_text(content)
            client.act([1])
    with AgentClient(server.url, lambda: "three") as client:
        client.act([1])
    assert server.tokens == ["bearer one", "bearer two", "bearer three"]


def test_observations_become_json() -> None:
    assert jsonable(np.int64(3)) == 3
    assert jsonable(np.array([True, False])) == [1, 0]
    assert jsonable(np.array([[0.5]], np.float32)) == [[0.5]]
    for value in (float("nan"), [1.0, float("inf")]):
        with pytest.raises(errors.InvalidRequestError) as caught:
            jsonable(value)
        assert caught.value.field == "observation"
