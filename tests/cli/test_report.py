"""`checkrein report` and `checkrein audit report` as a person runs them, on a real API server, store and log."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.api.objects import MISSING, changed, policy_version
from tests.api.server import Server
from tests.cli.conftest import Said
from tests.cluster.minio import Minio
from tests.report.test_page import HOSTILE, Elements, episode, recording
from tests.store.decisions.writer import AGENT, LogWriter, at, decision

from checkrein.api.meta import FileReference
from checkrein.api.recording import Recording
from checkrein.api.tasks import StoreCredentials, StoreLocation
from checkrein.cli.main import main
from checkrein.store import buckets, recordings
from checkrein.store.client import Store
from checkrein.store.decisions.records import EndRecord, OutcomeRecord, Record

Run = Callable[..., Said]
OTHER = f"sha256:{'e' * 64}"


class Shop:
    """A policy's name of its own, whose versions have recordings in a bucket of their own."""

    def __init__(self, server: Server, minio: Minio, folder: Path) -> None:
        self.server, self.name = server, f"shown-{secrets.token_hex(3)}"
        self.made: list[Any] = []
        suffix = secrets.token_hex(4)
        owner = StoreCredentials(access_key=minio.access_key, secret_key=minio.secret_key)
        location = StoreLocation(endpoint=minio.endpoint, secure=False, bucket=f"runs-{suffix}")
        self.runs = Store(location, lambda: owner)
        self.policies = Store(location.model_copy(update={"bucket": f"policies-{suffix}"}), lambda: owner)
        buckets.ensure(self.runs, f"policies-{suffix}", f"runs-{suffix}")
        self.credentials = folder / "credentials.json"
        self.credentials.write_text(owner.model_dump_json(by_alias=True))
        self.where = ("--endpoint", minio.endpoint, "--insecure", "--credentials", self.credentials)

    def publish(self, number: int, told: Recording | None, environment: str | None = None) -> str:
        """A version; its name."""
        obj = policy_version(f"{self.name}-{number}", self.name, number)
        obj = changed(obj, "spec.artifact.bucket", self.policies.location.bucket)
        if environment:
            obj = changed(obj, "spec.environment.digest", environment)
        obj = changed(obj, "spec.recording", MISSING)
        if told:
            stored = self.runs.put("recording.json.gz", recordings.pack(told))
            written = FileReference(key=stored.key, digest=stored.digest, size=stored.size)
            kept = recordings.publish(self.runs, self.policies, written)
            obj = changed(obj, "spec.recording", kept.dump())
        self.made.append(self.server.create(obj))
        return f"{self.name}-{number}"


@pytest.fixture
def shop(server: Server, minio: Minio, tmp_path: Path) -> Iterator[Shop]:
    made = Shop(server, minio, tmp_path)
    yield made
    for obj in made.made:
        server.delete({"kind": "PolicyVersion", **obj})


def test_a_version_is_shown_against_the_one_before(command: Run, shop: Shop, tmp_path: Path) -> None:
    shop.publish(1, recording(returns=[1.0, 2.0, 1.0]))
    version, file = shop.publish(2, recording(episodes=[episode(remark=HOSTILE)])), tmp_path / "report.html"
    assert command("report", version, "-o", file, *shop.where) == (0, f"written to {file}\n", "")
    page = Elements(file.read_text())
    told = page.text
    assert f"Mean return against {shop.name}-1, the version before: +1.667, with probability 95 % between" in told
    assert f"{shop.name}, version 2" in told
    assert "300 episodes, mean return 498.1, at least 490.1 with probability 0.95" in told
    assert HOSTILE in told
    assert "script" not in {tag for tag, _ in page.found}


@pytest.mark.parametrize(
    ("before", "environment", "said"),
    [
        pytest.param(None, None, "it has no recording", id="published by an older release"),
        pytest.param(recording(), OTHER, "it was evaluated in another environment", id="another environment"),
    ],
)
def test_a_version_before_that_cannot_be_compared_is_told_of(
    command: Run, shop: Shop, tmp_path: Path, before: Recording | None, environment: str | None, said: str
) -> None:
    shop.publish(1, before, environment)
    version, file = shop.publish(2, recording()), tmp_path / "report.html"
    assert command("report", version, "-o", file, *shop.where)[0] == 0
    assert f"{shop.name}-1, the version before: {said}" in Elements(file.read_text()).text


def test_a_first_version_has_none_before(command: Run, shop: Shop, tmp_path: Path) -> None:
    version, file = shop.publish(1, recording(parent=None)), tmp_path / "report.html"
    assert command("report", version, "-o", file, *shop.where)[0] == 0
    assert "the version before" not in Elements(file.read_text()).text


def test_what_there_is_nothing_to_show_of_is_told(command: Run, shop: Shop, tmp_path: Path) -> None:
    code, out, err = command("report", "nobody-1", *shop.where)
    assert (code, out, err) == (1, "", "checkrein: there is no PolicyVersion nobody-1 in namespace default\n")

    version = shop.publish(1, None)
    code, _, err = command("report", version, *shop.where)
    assert code == 1
    assert err.startswith(
        f"checkrein: PolicyVersion {version} has no recording: it was imported, published by an older"
    )

    version = shop.publish(2, recording())
    code, _, err = command("report", version)
    assert (code, err) == (2, "checkrein: set --endpoint: the store to read from\n")
    away = ("--endpoint", "127.0.0.1:1", "--insecure", "--credentials", shop.credentials)
    code, _, err = command("report", version, *away)
    assert code == 2
    assert "Connection refused" in err
    file = tmp_path / "nowhere" / "report.html"
    code, _, err = command("report", version, "-o", file, *shop.where)
    assert code == 2
    assert str(file) in err


def step(name: str, number: int, **more: Any) -> Record:
    known = {"observation": {"speed": 0.1 * number, "place": [number, 1]}, "q_value": 2.0 - number}
    return decision(name, number, timestamp=at(number), **known | more)


LOG: list[Record] = [
    step("a", 0),
    step("a", 1, reward=1.0, exploration_flag=True, propensity=0.1, action=0),
    step("a", 2, reward=1.0, policy="cartpole-2", shield="slow"),
    EndRecord(timestamp=at(3), agent_id=AGENT, episode="a", step=3, ending="terminated", reward=2.0),
    OutcomeRecord(timestamp=at(20), agent_id=AGENT, decision="a-1", reward=10.0),
    *(decision(HOSTILE, number, timestamp=at(30 + number)) for number in range(2)),
]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    log = LogWriter()
    log.stream(LOG)
    for key, data in log.objects.items():
        file = tmp_path / "log" / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return tmp_path / "log"


@pytest.fixture
def audit(capsys: pytest.CaptureFixture[str], directory: Path) -> Run:
    """`checkrein audit report` of that log."""

    def call(*arguments: object) -> Said:
        with pytest.raises(SystemExit) as ended:
            main(["audit", "report", "--directory", str(directory), *map(str, arguments)])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


NAMESPACE, NAME = AGENT.split("/")
WHOSE = ("--namespace", NAMESPACE, "--name", NAME)


def test_logged_episodes_are_drawn(audit: Run, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    assert audit(*WHOSE, "-o", file) == (0, f"written to {file}\n", "")
    page = Elements(file.read_text())
    for sentence in (
        f"what the decision log of AgentDeployment {AGENT} says",
        "5 in 2 episodes",
        "cartpole-1: 4, cartpole-2: 1",
        "Episode a: return 14 in 3 steps; it terminated",
        f"Episode {HOSTILE}: return 0 in 2 steps; its end is not in the log",
        "explored",
        "changed by a rule of the shield",
    ):
        assert sentence in page.text
    assert "script" not in {tag for tag, _ in page.found}


def test_one_episode_is_asked_for(audit: Run, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    assert audit(*WHOSE, "-o", file, "--episode", HOSTILE)[0] == 0
    told = Elements(file.read_text()).text
    assert "2 in 1 episode" in told
    assert "spec.decisionLog.observations: Full keeps them" in told


def test_more_episodes_than_are_drawn_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = LogWriter()
    log.stream([decision(f"e{i}", 0, timestamp=at(i)) for i in range(9)])
    for key, data in log.objects.items():
        (tmp_path / "log" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "log" / key).write_bytes(data)
    file = tmp_path / "report.html"
    with pytest.raises(SystemExit) as ended:
        main(["audit", "report", "--directory", str(tmp_path / "log"), *WHOSE, "-o", str(file)])
    assert not ended.value.code
    told = Elements(file.read_text()).text
    assert "9 in 9 episodes" in told
    assert "Episode e4:" in told
    assert "Episode e5:" not in told
    assert "the first 5 episodes are drawn" in told


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        pytest.param((), 2, "set --namespace and --name", id="whose"),
        pytest.param((*WHOSE, "--episode", "z"), 1, "the log has no such decisions", id="no such episode"),
    ],
)
def test_a_log_with_nothing_to_show_is_told(audit: Run, arguments: tuple[str, ...], status: int, said: str) -> None:
    code, out, err = audit(*arguments)
    assert (code, out) == (status, "")
    assert said in err


def test_what_is_not_proved_is_drawn_with_a_warning(audit: Run, directory: Path, tmp_path: Path) -> None:
    last = max(directory.rglob("segments/*.jsonl.gz"))
    last.unlink()
    file = tmp_path / "report.html"
    code, _, err = audit(*WHOSE, "-o", file)
    assert code == 1
    assert err
    assert "could not be proved" in Elements(file.read_text()).text


def test_the_page_opens_in_a_browser(directory: Path, tmp_path: Path) -> None:
    browser, seen = tmp_path / "browser", tmp_path / "seen"
    browser.write_text(f'#!/bin/sh\necho "$1" > {seen}\n')
    browser.chmod(0o755)
    command = [sys.executable, "-m", "checkrein.cli.main", "audit", "report", "--directory", str(directory), *WHOSE]
    environment = os.environ | {
        "BROWSER": f"{browser} %s",
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run([*command, "--open"], env=environment, capture_output=True, text=True, check=True)
    file = Path(done.stdout.removeprefix("written to ").strip())
    assert (file.name, file.parent.parent) == (f"{NAME}.html", tmp_path)
    assert seen.read_text().strip() == file.as_uri()
    seen.unlink()
    subprocess.run(command, env=environment, capture_output=True, check=True)
    assert not seen.exists(), "nobody sits at a terminal"
    assert done.stderr == ""
