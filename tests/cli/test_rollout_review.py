"""`checkrein rollout review`: episodes from a real log, blind, and answers at a real API server."""

from __future__ import annotations

import http.client
import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from tests.cli.conftest import Deployment, Said
from tests.cli.test_audit import write
from tests.cluster.controlplane import ControlPlane
from tests.store.decisions.writer import LogWriter, at, decision

from checkrein.cli.kube import Kube, connect
from checkrein.cli.main import arguments
from checkrein.cli.rollout import apply, form, review
from checkrein.store.decisions.records import EndRecord, OutcomeRecord, Record

pytestmark = pytest.mark.controlplane
Run = Callable[..., Said]
Deploy = Callable[..., Deployment]
PAIRS = [{"sample": "0001", "left": "ep-a", "right": "ep-b"}, {"sample": "0002", "left": "ep-c", "right": "ep-d"}]


def records(agent_id: str) -> list[Record]:
    """ep-a is the candidate's, ep-b stable's; of ep-c only digests were kept."""
    told = {"agent_id": agent_id}
    ours = told | {"policy": "cartpole-2", "arm": "candidate", "policy_digest": "sha256:cd"}
    return [
        decision("ep-a", 0, observation=[0.012345, -1.0], **ours),
        decision("ep-a", 1, observation=[0.5, -0.5], action=0, reward=1.0, **ours),
        EndRecord(timestamp=at(5), agent_id=agent_id, episode="ep-a", step=2, ending="terminated", reward=2.0),
        OutcomeRecord(timestamp=at(9), agent_id=agent_id, episode="ep-a", reward=0.25, final=True),
        decision("ep-b", 0, observation=[0.75, 0.0], **told),
        decision("ep-c", 0, **told),
        decision("other", 0, observation=[42.0], **told),
    ]


@pytest.fixture
def agent(deploy: Deploy) -> Deployment:
    """Two pairs are to be compared."""
    made = deploy()
    made.canary(review=PAIRS)
    return made


@pytest.fixture
def log(agent: Deployment, tmp_path: Path) -> Path:
    """The deployment's log, as a copy."""
    writer = LogWriter(f"default/{agent.name}")
    writer.stream(records(f"default/{agent.name}"))
    return write(tmp_path / "log", writer.objects)


def test_both_episodes_are_shown_and_nobody_is_named(
    run: Run, agent: Deployment, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("what?\nl\nq\n"))
    status, out, err = run("review", agent.name, "--directory", log)
    assert (status, err) == (0, "")
    for said in ("[0.01235, -1.0]", "[0.5, -0.5]", "2 steps, terminated; return 3.25, 0.25 of it told later", "0.75"):
        assert said in out
    assert "(only its digest was kept)" in out
    assert "the log does not know it (yet)" in out
    for unsaid in ("cartpole-1", "cartpole-2", "candidate", "stable", "sha256", "42", "ep-a"):
        assert unsaid not in out
    assert agent.words == {"reviews": [{"sample": "0001", "answer": "Left", "by": "admin"}]}


def test_without_a_log_it_says_where_to_look(run: Run, agent: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\nequal\n"))
    status, out, _ = run("review", agent.name)
    assert status == 0
    assert "say where the decision log lies" in out
    assert agent.words["reviews"] == [{"sample": "0002", "answer": "Equal", "by": "admin"}]
    assert "(1 of 1)" in run("review", agent.name)[1]  # what was answered is not asked again


def test_answers_on_the_command_line(run: Run, agent: Deployment) -> None:
    assert run("review", agent.name, "--answer", "0001=Right", "--answer", "0002=left")[:2] == (0, "2 answered\n")
    assert [(r["sample"], r["answer"]) for r in agent.words["reviews"]] == [("0001", "Right"), ("0002", "Left")]
    status, _, err = run("review", agent.name, "--answer", "0003=Left")
    assert status == 1
    assert "nobody asks about a pair 0003" in err
    assert "nothing to compare now" in run("review", agent.name)[1]


@pytest.fixture
def served(agent: Deployment, log: Path, controlplane: ControlPlane) -> Iterator[form.Form]:
    """The form, on a port that was free."""
    line = ["rollout", "review", agent.name, "--directory", str(log), "--kubeconfig", str(controlplane.kubeconfig)]
    options = arguments().parse_args(line)
    kube: Kube = connect(options)
    with form.Form(review.desk(kube, options, apply.Manner()), 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def call(server: form.Form, method: str, path: str, **fields: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(urlsplit(server.address).netloc, timeout=30)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request(method, path, urlencode(fields) if fields else None, headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_the_form_shows_and_takes_answers(served: form.Form, agent: Deployment) -> None:
    status, text = call(served, "GET", served.path)
    assert status == 200
    assert "Pair 0001" in text
    assert "[0.5, -0.5]" in text
    assert "candidate" not in text
    assert "cartpole-2" not in text
    assert call(served, "POST", served.path, sample="0001", answer="Right")[0] == 303
    assert "Pair 0002" in call(served, "GET", served.path)[1]
    assert agent.words["reviews"] == [{"sample": "0001", "answer": "Right", "by": "admin"}]


def test_the_form_is_for_who_knows_its_address(served: form.Form, agent: Deployment) -> None:
    assert served.address.startswith("http://127.0.0.1:")
    assert call(served, "GET", "/")[0] == 404
    assert call(served, "POST", "/guess/", sample="0001", answer="Right")[0] == 404
    assert call(served, "POST", served.path, sample="0001", answer="Both")[0] == 400
    status, text = call(served, "POST", served.path, sample="<b>", answer="Left")
    assert status == 409
    assert "&lt;b&gt;" in text
    assert "<b>&lt" in text or "<b>not taken" in text
    assert agent.words == {}
