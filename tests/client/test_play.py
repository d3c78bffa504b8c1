"""Real CartPole episodes against a real replica."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gymnasium import spaces
from tests.agent import graphs
from tests.agent.conftest import StartReplica
from tests.agent.installation import Deployment, Library
from tests.agent.replica import OPERATOR, Replica
from tests.client.scripted import Scripted, decision, http, problem
from tests.cluster.processes import free_port

from checkrein.client import AgentClient, AsyncAgentClient, vector
from checkrein.client.gymnasium_driver import EpisodeResult, SignalError, Signals, play, play_episode, to_action
from checkrein.client.play import line, summary


@pytest.fixture
def deployment(deploy: Callable[..., Deployment], library: Library) -> Deployment:
    made = deploy(auth={"mode": "ServiceAccount"})
    made.set_status(1, library.publish("cartpole-1", graphs.balancing()))
    return made


@pytest.fixture
def replica(deployment: Deployment, start: StartReplica) -> Replica:
    made = start(deployment)
    made.wait_acting("cartpole-1")
    return made


class OneStep(gymnasium.Env[int, int]):
    """Ends after one step, whose info names a cost and an objective."""

    observation_space, action_space = spaces.Discrete(2), spaces.Discrete(2)

    def reset(self, **_: Any) -> tuple[int, dict[str, Any]]:
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        return 1, 1.0, True, False, {"price": 0.5, "goal": 2.0}


def checkrein_play(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "checkrein.client.play", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(OPERATOR)}, check=False)


@pytest.mark.controlplane
@pytest.mark.store
def test_plays_what_the_policy_itself_would_play(replica: Replica, deployment: Deployment, library: Library) -> None:
    env, token = gymnasium.make("CartPole-v1"), deployment.token()
    with AgentClient(replica.url, lambda: token) as client:
        first, again = list(play(client, env, [7, 7]))
        assert first == again
        assert (first.policies, first.episode_return) == (("cartpole-1",), float(first.length))
        assert first.length > 100, "the balancing policy holds the pole for a while"
        deployment.set_status(2, library.publish("cartpole-2", graphs.always(0)))
        replica.wait_acting("cartpole-2")
        (fallen,) = play(client, env, [7])
    assert (fallen.policies, fallen.length < 15) == (("cartpole-2",), True)


@pytest.mark.controlplane
@pytest.mark.store
def test_the_command_plays_and_prints(replica: Replica, deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(deployment.token())
    options = ("--url", replica.url, "--environment", "CartPole-v1", "--episodes", "2", "--seed", "3")
    text = checkrein_play(*options, "--token-file", str(tmp_path / "token"))
    assert text.returncode == 0, text.stderr
    assert text.stdout.splitlines()[0].startswith("episode 3: return ")
    assert text.stdout.splitlines()[-1].startswith("2 of 2 episodes: mean return ")
    machine = checkrein_play(*options, "--token-file", str(tmp_path / "token"), "--json")
    *episodes, total = map(json.loads, machine.stdout.splitlines())
    assert [e["seed"] for e in episodes] == [3, 4]
    assert (total["episodes"], total["failed"], total["policies"]) == (2, 0, ["cartpole-1"])
    assert total["mean"] == sum(e["episode_return"] for e in episodes) / 2

    stranger = checkrein_play(*options)
    assert (stranger.returncode, stranger.stderr.count("service account token")) == (1, 2)
    assert stranger.stdout.strip() == "no episode of 2 was played"


@pytest.mark.controlplane
@pytest.mark.store
@pytest.mark.parametrize("transport", ["--stream", None], ids=["stream", "http"])
def test_copies_play_the_same_episodes_side_by_side(
    replica: Replica, deployment: Deployment, tmp_path: Path, transport: str | None
) -> None:
    (tmp_path / "token").write_text(deployment.token())
    options = ["--url", replica.url, "--environment", "CartPole-v1", "--episodes", "4", "--json"]
    options += ["--token-file", str(tmp_path / "token"), *([transport] if transport else [])]
    alone, together = (checkrein_play(*options, "--copies", copies) for copies in ("1", "3"))
    assert (alone.returncode, together.returncode) == (0, 0), together.stderr
    assert sorted(alone.stdout.splitlines()) == sorted(together.stdout.splitlines())


def test_a_copy_that_fails_does_not_stop_the_others() -> None:
    """Each copy has a connection of its own; the script gives its answers in the order of connections."""
    ended = http(200, {"ended": "terminated", "steps": 1, "policy": "p-1"})
    server = Scripted(http(200, {"info": {}}), problem(500, "policy-failed"), decision(1), ended)
    told: list[EpisodeResult | vector.Failure] = []
    connect = partial(AsyncAgentClient, server.url)
    asyncio.run(vector.play(connect, [OneStep()], [5, 6], told.append, Signals("price", "goal")))
    failure, result = told
    assert isinstance(failure, vector.Failure)
    assert (failure.seed, str(failure.error)) == (5, "why")
    assert result == EpisodeResult(6, 1.0, 1, ("p-1",), "terminated")
    assert server.bodies[-1] == {"episode": "token-1", "terminated": True, "reward": 1.0, "cost": 0.5, "objective": 2.0}


def test_an_episode_that_the_shield_ended_is_a_result() -> None:
    server = Scripted(http(200, {"ended": "shield", "steps": 0, "policy": "p-1"}))
    with AgentClient(server.url) as client:
        assert play_episode(client, OneStep(), 3).ending == "shield"


def test_a_signal_that_the_environment_does_not_give_is_named() -> None:
    server = Scripted(decision(1), http(200, {"ended": "aborted", "steps": 1, "policy": "p-1"}))
    with AgentClient(server.url) as client, pytest.raises(SignalError, match=r"no 'prize'.*'price', 'goal'"):
        play_episode(client, OneStep(), 3, Signals(cost="prize"))
    server.finish()


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        pytest.param(["--environment", "CartPoll-v1"], 2, "did you mean", id="a misspelt environment"),
        pytest.param(["--environment", "CartPole-v1"], 1, "cannot be reached", id="nobody there"),
        pytest.param(["--environment", "CartPole-v1", "--episodes", "0"], 2, "at least 1", id="no episodes"),
        pytest.param(["--environment", "CartPole-v1", "--stream"], 1, "cannot be reached", id="no stream there"),
        pytest.param(["--environment", "CartPole-v1", "--copies", "0"], 2, "at least 1", id="no copies"),
        pytest.param(["--environment", "CartPole-v1", "--url", "agent"], 2, "start with http", id="no address"),
        pytest.param(["--environment", "CartPole-v1", "--arguments", "{"], 2, "--arguments", id="broken arguments"),
        pytest.param(["--environment", "CartPole-v1", "--arguments", "[]"], 2, "--arguments", id="a list of arguments"),
    ],
)
def test_the_command_says_what_is_wrong(options: list[str], status: int, says: str) -> None:
    done = checkrein_play("--url", f"http://127.0.0.1:{free_port()}", "--wait", "0", *options)
    assert (done.returncode, says in done.stderr, "Traceback" in done.stderr) == (status, True, False), done.stderr


def test_lines_for_people() -> None:
    results = [EpisodeResult(0, 500.0, 500, ("p-1",)), EpisodeResult(1, 9.0, 9, ("p-1", "p-2"))]
    assert line(results[1], as_json=False) == "episode 1: return 9, length 9, policy p-1, p-2"
    assert summary(results, 3, as_json=False) == "2 of 3 episodes: mean return 254.5, least 9, policies p-1, p-2"


@pytest.mark.parametrize(
    ("space", "data"),
    [
        pytest.param(spaces.Discrete(3, start=1), 2, id="a number"),
        pytest.param(spaces.Box(-1, 1, (2,)), [0.5, -0.5], id="a list of floats"),
        pytest.param(spaces.Box(-1, 1, ()), 0.5, id="a float"),
        pytest.param(spaces.MultiDiscrete([3, 3]), [2, 0], id="several numbers"),
        pytest.param(spaces.MultiBinary(2), [1, 0], id="bits"),
    ],
)
def test_actions_belong_to_the_space(space: spaces.Space[object], data: object) -> None:
    assert space.contains(to_action(space, data))
