"""What the clients do with a WebSocket that is refused, broken, or opened with a token that is no longer good."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.client.blocking import CLIENTS, Client
from tests.client.scripted import ScriptedStream, fields, refused
from tests.cluster.processes import free_port

from checkrein.client import errors

Serve = Callable[..., ScriptedStream]


@pytest.fixture(params=CLIENTS)
def connect(request: pytest.FixtureRequest) -> Client:
    client = CLIENTS[request.param]
    return lambda *arguments, **options: client(*arguments, **options, stream=True)


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[ScriptedStream] = []

    def start(*answers: dict[str, Any] | None, refusals: tuple[int, ...] = ()) -> ScriptedStream:
        servers.append(ScriptedStream(*answers, refusals=refusals))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def test_an_episode_travels_over_one_connection(connect: Client, serve: Serve) -> None:
    server = serve(fields(1), fields(2), {"ended": "terminated", "steps": 2, "policy": "p-1"})
    with connect(server.url, lambda: "secret") as client, client.episode() as episode:
        assert episode.act([1]).action == 1
        assert episode.act([2], 0.5, cost=1).action == 2
        episode.end("terminated", 1)
    assert server.tokens == ["Bearer secret"]
    assert server.messages == [
        {"observation": [1]},
        {"observation": [2], "episode": "token-1", "reward": 0.5, "cost": 1.0},
        {"episode": "token-2", "terminated": True, "reward": 1.0},
    ]


def test_a_step_whose_answer_was_lost_is_asked_again_over_a_new_connection(connect: Client, serve: Serve) -> None:
    server = serve(fields(1), None, fields(2))
    with connect(server.url) as client:
        client.act([1])
        assert client.act([2], episode="token-1").action == 2
    assert len(server.tokens) == 2
    assert server.messages[1] == server.messages[2] == {"observation": [2], "episode": "token-1"}


def test_a_problem_is_an_error_and_the_connection_goes_on(connect: Client, serve: Serve) -> None:
    server = serve(refused(400, "out-of-space", field="observation"), fields(1))
    with connect(server.url) as client:
        with pytest.raises(errors.InvalidRequestError) as caught:
            client.act([9])
        assert (caught.value.field, caught.value.problem) == ("observation", "out-of-space")
        assert client.act([1]).action == 1
    assert len(server.tokens) == 1


def test_what_was_not_decided_is_asked_again(connect: Client, serve: Serve) -> None:
    server = serve(refused(503, "not-ready"), refused(429, "limited"), fields(1))
    with connect(server.url) as client:
        assert client.act([1]).action == 1
    assert (len(server.messages), len(server.tokens)) == (3, 1)


def test_a_new_token_opens_a_new_connection(connect: Client, serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    server = serve(fields(1), refused(401, "unauthenticated"), fields(2), refused(401, "unauthenticated"))
    with connect(server.url, file) as client:
        client.act([1])
        file.write_text("two")
        assert client.act([2]).action == 2
    assert server.tokens == ["Bearer one", "Bearer two"]
    with connect(server.url) as client, pytest.raises(errors.UnauthenticatedError):
        client.act([1])
    assert len(server.messages) == 4, "a stream that was just opened has no better token"


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        pytest.param(401, errors.UnauthenticatedError, id="no token"),
        pytest.param(403, errors.ForbiddenError, id="not allowed"),
        pytest.param(404, errors.InvalidRequestError, id="no stream there"),
    ],
)
def test_a_refused_handshake_is_a_problem(
    connect: Client, serve: Serve, status: int, wanted: type[errors.AgentError]
) -> None:
    server = serve(refusals=(status,))
    with connect(server.url) as client, pytest.raises(wanted, match="why"):
        client.act([1])
    assert len(server.tokens) == 1


def test_a_handshake_is_tried_again_while_the_agent_is_not_ready(connect: Client, serve: Serve) -> None:
    server = serve(fields(1), refusals=(503, 503))
    with connect(server.url) as client:
        assert client.act([1]).action == 1
    assert len(server.tokens) == 3


def test_gives_up_on_an_agent_that_is_not_there(connect: Client) -> None:
    with (
        connect(f"http://127.0.0.1:{free_port()}", wait=0.2) as client,
        pytest.raises(errors.UnreachableError, match="cannot be reached") as caught,
    ):
        client.act([1])
    assert not caught.value.decided
