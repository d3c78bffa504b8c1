"""Real CartPole episodes against a real replica."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gymnasium
import pytest
from gymnasium import spaces
from tests.agent import graphs
from tests.agent.conftest import StartReplica
from tests.agent.installation import Deployment, Library
from tests.agent.replica import OPERATOR, Replica
from tests.cluster.processes import free_port

from checkrein.client import AgentClient
from checkrein.client.gymnasium_driver import EpisodeResult, play, to_action
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


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        pytest.param(["--environment", "CartPoll-v1"], 2, "did you mean", id="a misspelt environment"),
        pytest.param(["--environment", "CartPole-v1"], 1, "cannot be reached", id="nobody there"),
        pytest.param(["--environment", "CartPole-v1", "--episodes", "0"], 2, "at least 1", id="no episodes"),
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
