"""`checkrein status|get|wait|explain|logs|override|completion` as a person runs them, against a real API server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from tests.api.objects import pointer
from tests.cli.conftest import Deployment, Said, promoted

from checkrein.cli.main import main
from checkrein.cli.override import wanted
from checkrein.cli.places import UsageError

Run = Callable[..., Said]
Deploy = Callable[..., Deployment]
pytestmark = pytest.mark.controlplane


@pytest.fixture
def agent(deploy: Deploy) -> Deployment:
    """cartpole-1 decides."""
    made = deploy("cartpole-1")
    made.status(stable=pointer("cartpole-1"), phase="Healthy", history=[promoted(1, "cartpole-1", None)])
    return made


def test_status_shows_the_tree_that_an_agent_is_part_of(command: Run, agent: Deployment) -> None:
    code, out, _ = command("status", agent.name)
    assert code == 0
    assert out.startswith("RLEnvironment planned")
    assert f"AgentDeployment {agent.name}" in out
    document = json.loads(command("status", agent.name, "-o", "json")[1])
    assert [root["name"] for root in document] == ["planned"]
    assert command("status", "nobody")[1] == "nothing of Checkrein's called nobody in namespace default\n"


def test_get_prints_what_kubectl_prints(command: Run, agent: Deployment) -> None:
    code, out, _ = command("get", "agents", agent.name)
    assert code == 0
    printed = agent.kubectl("get", "agents", agent.name)
    assert [line.split()[:3] for line in out.splitlines()] == [line.split()[:3] for line in printed.splitlines()]
    assert "REASON" in command("get", "agents", "-o", "wide", "-A")[1]
    assert json.loads(command("get", "polv", "cartpole-1", "-o", "json")[1])["spec"]["version"] == 1
    assert {i["kind"] for i in json.loads(command("get", "-o", "json")[1])["items"]} >= {"PolicyVersion"}


def test_words_that_mean_nothing_are_explained(command: Run) -> None:
    assert command("get", "pods")[0] == 2
    assert command("get", "agents", "nobody") == (1, "", "checkrein: there is no agents nobody\n")
    code, _, err = command("explain", "agent/nobody")
    assert (code, err) == (1, "checkrein: there is no AgentDeployment nobody in namespace default\n")


def test_wait_ends_when_the_version_decides_or_cannot(command: Run, deploy: Deploy, agent: Deployment) -> None:
    assert command("wait", f"agent/{agent.name}")[:2] == (0, "cartpole-1 decides\n")
    waiting = deploy("cartpole-2")
    code, _, err = command("wait", f"agent/{waiting.name}", "--timeout", "1s")
    assert code == 1
    assert f"checkrein explain agent/{waiting.name}" in err
    code, _, err = command("wait", "tj/not-yet-there", "--timeout", "1s")
    assert (code, "it does not exist" in err) == (1, True)


def test_logs_of_what_has_no_pod(command: Run, agent: Deployment) -> None:
    code, _, err = command("logs", f"agent/{agent.name}")
    assert (code, "has no pod now" in err) == (1, True)


def test_an_override_is_set_and_cleared(command: Run, agent: Deployment) -> None:
    code, out, _ = command(
        *("override", "set", agent.name, "--mode", "Pin", "--policy-version", "cartpole-1"),
        *("--reason", "a sensor fault", "--for", "1h"),
    )
    assert code == 0
    said = agent.get()["spec"]["override"]
    assert out == f"{agent.name} is overridden: Pin until {said['until']}\n"
    assert (said["by"], said["policyVersion"]) == ("admin", "cartpole-1")
    assert (
        command("override", "set", agent.name, "--mode", "Action", "--action", "0", "--reason", "r", "--for", "9m")[0]
        == 0
    )
    said = agent.get()["spec"]["override"]
    assert (said["action"], "policyVersion" in said) == ([0], False)
    assert command("override", "clear", agent.name, "--dry-run", "server")[0] == 0
    assert "override" in agent.get()["spec"]
    assert command("override", "clear", agent.name)[1].endswith("cartpole-1 decides again\n")
    assert "override" not in agent.get()["spec"]
    assert command("override", "clear", agent.name)[1] == f"{agent.name} is not overridden\n"


def test_an_override_leaves_a_repositorys_field_alone(command: Run, deploy: Deploy) -> None:
    agent = deploy()
    stop = {"mode": "Stop", "reason": "r", "by": "argo"}
    agent.apply({"policyVersion": "cartpole-2", "override": stop}, "argocd-controller")
    code, _, err = command("override", "clear", agent.name)
    assert (code, agent.get()["spec"]["override"]["mode"]) == (1, "Stop")
    assert "change it in the repository" in err


def test_an_override_of_a_version_that_is_not_there(command: Run, agent: Deployment) -> None:
    how = ("--mode", "Pin", "--policy-version", "nobody-1", "--reason", "r", "--for", "1h")
    assert command("override", "set", agent.name, *how)[2] == (
        "checkrein: there is no PolicyVersion nobody-1 in namespace default\n"
    )


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"mode": "Pin"}, "--policy-version goes with --mode Pin"),
        ({"mode": "Fallback", "action": [0]}, "--action goes with --mode Action"),
        ({"mode": "Fallback"}, "--for or --until"),
        ({"mode": "Stop", "until": datetime(2020, 1, 1, tzinfo=UTC)}, "is over already"),
    ],
)
def test_overrides_that_cannot_be(said: dict, words: str) -> None:
    options = SimpleNamespace(
        **{"policy_version": None, "action": None, "lasts": None, "until": None, "reason": "r"} | said
    )
    with pytest.raises(UsageError, match=words):
        wanted(options, "ops", datetime(2026, 1, 1, tzinfo=UTC))  # type: ignore[arg-type]


def test_the_verbs_of_a_rollout_have_short_forms(command: Run, deploy: Deploy) -> None:
    agent = deploy()
    agent.canary()
    assert command("promote", agent.name)[0] == 0
    assert agent.words["approve"]["step"] == 2
    assert command("pause", agent.name)[0] == 0
    assert agent.get()["spec"]["rollout"]["paused"] is True


def test_shells_are_told_what_comes_next() -> None:
    code = "from checkrein.cli.completion import kubectl; kubectl()"

    def after(*words: str) -> list[str]:
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert after("over") == ["override", ":4"]
    assert after("override", "s") == ["set", ":4"]
    assert "--policy-version" in after("override", "set", "a", "--poli")
    script = subprocess.run(
        [sys.executable, "-m", "checkrein.cli.main", "completion", "bash"], capture_output=True, text=True, check=True
    )
    assert "complete" in script.stdout


def test_as_a_plugin_it_calls_itself_as_people_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/kubectl-checkrein"])
    with pytest.raises(SystemExit):
        main(["status", "--help"])
    assert capsys.readouterr().out.startswith("usage: kubectl checkrein status ")
