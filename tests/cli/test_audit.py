"""`checkrein audit` as a person runs it, on a real store and on copies."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.cluster.minio import Minio
from tests.store.decisions.writer import AGENT, LogWriter, at, decision

from checkrein.api.tasks import StoreCredentials, StoreLocation
from checkrein.cli.main import main
from checkrein.store.client import Store
from checkrein.store.decisions.records import EndRecord, GapRecord, OutcomeRecord, OverrideRecord, Record, ShadowRecord

Run = Callable[..., tuple[int, str, str]]
CARTPOLE: list[Record] = [
    decision("a", 0),
    decision("a", 1, reward=1.0),
    decision("a", 1, reward=1.0),  # a retry
    decision("a", 2, reward=0.5, exploration_flag=True, propensity=0.05, proposed=0, policy="cartpole-2"),
    EndRecord(timestamp=at(3), agent_id=AGENT, episode="a", step=3, ending="terminated", reward=2.0),
    decision("b", 0, timestamp=at(10)),
    decision("b", 1, timestamp=at(11), reward=1.0),
    decision("b", 1, timestamp=at(12), reward=7.0, observation_digest="another"),  # a fork
    OutcomeRecord(timestamp=at(20), agent_id=AGENT, decision="a-1", reward=10.0),
    OutcomeRecord(timestamp=at(21), agent_id=AGENT, decision="a-1", reward=5.0, final=True),
    OutcomeRecord(timestamp=at(22), agent_id=AGENT, episode="a", reward=100.0, cost=3.0),
    OverrideRecord(timestamp=at(30), agent_id=AGENT, generation=4, mode="Stop", reason="fire", by="ops"),
]


def write(directory: Path, objects: dict[str, bytes]) -> Path:
    for key, data in objects.items():
        (directory / key).parent.mkdir(parents=True, exist_ok=True)
        (directory / key).write_bytes(data)
    return directory


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    log = LogWriter()
    log.stream(CARTPOLE)
    return write(tmp_path / "log", log.objects)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Exit status, what was said, what was complained about."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["audit", *map(str, arguments)])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_good_log_is_proved(run: Run, directory: Path) -> None:
    status, out, _ = run("verify", "--directory", directory)
    assert status == 0
    assert "cartpole-agent-0.cartpole-agent-0-uid.1-0  games/cartpole  14" in out
    assert out.endswith("proved: 14 records in 1 streams\n")


def test_one_changed_byte_fails(run: Run, directory: Path) -> None:
    path = next(directory.rglob("000000000004.jsonl.gz"))
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    status, out, _ = run("verify", "--directory", directory)
    assert status == 1
    assert "error  Changed  cartpole-agent-0" in out
    assert "NOT PROVED" in out


def test_programs_read_the_verdict_as_json(run: Run, directory: Path) -> None:
    status, out, _ = run("verify", "--directory", directory, "-o", "json")
    document = json.loads(out)
    assert (status, document["proved"], document["findings"]) == (0, True, [])
    assert document["streams"][0]["state"] == "closed"


@pytest.mark.parametrize(("strict", "expected"), [([], 0), (["--strict"], 1)], ids=["told", "strict"])
def test_known_losses_fail_only_where_that_is_asked(run: Run, tmp_path: Path, strict: list[str], expected: int) -> None:
    log = LogWriter()
    log.stream([GapRecord(timestamp=at(1), lost=3, since=at(0), reason="No space left on device")])
    status, out, _ = run("verify", "--directory", write(tmp_path / "log", log.objects), *strict)
    assert status == expected
    assert "warning  Gap" in out


def test_what_was_noted_is_held_against_a_later_log(run: Run, directory: Path, tmp_path: Path) -> None:
    note = tmp_path / "note.json"
    assert run("verify", "--directory", directory, "--note", note)[0] == 0
    assert run("verify", "--directory", directory, "--against", note)[0] == 0
    shorter = LogWriter()
    shorter.stream(CARTPOLE[:4])
    status, out, _ = run("verify", "--directory", write(tmp_path / "later", shorter.objects), "--against", note)
    assert status == 1
    assert "TailMissing" in out


def test_decisions_are_joined_with_what_was_told_later(run: Run, directory: Path) -> None:
    status, out, _ = run("query", "--directory", directory)
    assert status == 0
    found = [
        (r["decision"], r["reward"], r["late_reward"], r["late_cost"], r["final"], r["copies"], r["forked"])
        for r in rows(out)
    ]
    assert found == [
        ("a-0", 1.0, None, None, False, 1, False),
        ("a-1", 0.5, 15.0, None, True, 2, False),
        ("a-2", 2.0, 100.0, 3.0, False, 1, False),
        ("b-0", 1.0, None, None, False, 1, False),
        ("b-1", None, None, None, False, 1, True),
        ("b-1", None, None, None, False, 1, True),
    ]


def test_of_the_answers_to_a_retry_the_last_was_acted_on(run: Run, tmp_path: Path) -> None:
    log = LogWriter()
    tried = decision("a", 0, action=0, exploration_flag=True, propensity=0.1)
    log.stream([tried, decision("a", 0, timestamp=at(0.5), action=1)])
    directory = write(tmp_path / "log", log.objects)
    [row] = rows(run("query", "--directory", directory)[1])
    assert (row["action"], row["exploration_flag"], row["copies"]) == (1, False, 2)
    assert rows(run("query", "--directory", directory, "--explored")[1]) == []
    assert len(rows(run("query", "--directory", directory, "--raw")[1])) == 2


@pytest.mark.parametrize(
    ("filters", "decisions"),
    [
        pytest.param(["--episode", "b"], ["b-0", "b-1", "b-1"], id="an episode"),
        pytest.param(["--decision", "a-1"], ["a-1"], id="a decision"),
        pytest.param(["--policy", "cartpole-2"], ["a-2"], id="a policy"),
        pytest.param(["--explored"], ["a-2"], id="what was explored"),
        pytest.param(["--since", "2026-12-01T12:00:11Z"], ["b-1", "b-1"], id="since then"),
        pytest.param(["--since", "2026-12-01T13:00:12+01:00"], ["b-1"], id="since then, in another zone"),
        pytest.param(["--until", "2026-12-01T12:00:01Z"], ["a-0"], id="until then"),
        pytest.param(["--limit", "2"], ["a-0", "a-1"], id="the first two"),
        pytest.param(["--episode", "nobody's"], [], id="nothing"),
    ],
)
def test_decisions_can_be_picked(run: Run, directory: Path, filters: list[str], decisions: list[str]) -> None:
    status, out, _ = run("query", "--directory", directory, *filters)
    assert (status, [r["decision"] for r in rows(out)]) == (0, decisions)


def test_overrides_are_read_back(run: Run, directory: Path) -> None:
    [row] = rows(run("query", "--directory", directory, "--kind", "override")[1])
    assert (row["mode"], row["by"], row["reason"], row["seq"]) == ("Stop", "ops", "fire", 13)


def shadow(step: int, **more: Any) -> ShadowRecord:
    """What a candidate said to a step of episode a."""
    known: dict[str, Any] = {
        "timestamp": at(step),
        "agent_id": AGENT,
        "decision": f"a-{step}",
        "episode": "a",
        "step": step,
        "policy": "cartpole-2",
        "policy_digest": "sha256:cd",
        "observation_digest": f"digest-{step}",
    }
    return ShadowRecord(**known | more)


def test_what_a_candidate_said_in_the_shadow_stands_beside_the_decision(run: Run, tmp_path: Path) -> None:
    log = LogWriter()
    said = shadow(0, action=0, probability=0.25, distance=1.0, q_value=3.0)
    log.stream([decision("a", 0), decision("a", 1), decision("a", 2), said, shadow(1, outcome="failed")])
    directory, table = write(tmp_path / "log", log.objects), tmp_path / "d.parquet"
    status, out, _ = run("verify", "--directory", directory, "-o", "json")
    assert (status, json.loads(out)["findings"]) == (0, [])
    found = [
        (r["shadow_policy"], r["shadow_outcome"], r["shadow_action"], r["shadow_probability"], r["shadow_agreed"])
        for r in rows(run("query", "--directory", directory)[1])
    ]
    assert found == [
        ("cartpole-2", "decided", 0, 0.25, False),
        ("cartpole-2", "failed", None, None, False),
        (None, None, None, None, None),
    ]
    kept = rows(run("query", "--directory", directory, "--kind", "shadow")[1])
    assert [(r["decision"], r["outcome"]) for r in kept] == [("a-0", "decided"), ("a-1", "failed")]
    assert run("export", "--directory", directory, "--out", table)[0] == 0
    assert pq.read_table(table)["shadow_action"].to_pylist() == ["0", None, None]


def test_parquet_and_json_lines_hold_the_same(run: Run, directory: Path, tmp_path: Path) -> None:
    table, lines = tmp_path / "d.parquet", tmp_path / "d.jsonl"
    assert run("export", "--directory", directory, "--out", table)[0] == 0
    assert run("export", "--directory", directory, "--out", lines)[0] == 0
    read, told = pq.read_table(table), rows(lines.read_text())
    assert read.num_rows == len(told) == 6
    for name in ("decision", "reward", "late_reward", "exploration_flag", "propensity", "copies", "forked"):
        assert read[name].to_pylist() == [row[name] for row in told], name
    assert set(read.column_names) == set(told[0]) - {"kind"}


def test_an_export_of_a_damaged_log_says_so(run: Run, directory: Path, tmp_path: Path) -> None:
    next(directory.rglob("000000000004.jsonl.gz")).unlink()
    status, out, err = run("export", "--directory", directory, "--out", tmp_path / "d.jsonl")
    assert status == 1
    assert "SegmentMissing" in err
    assert "decisions written" in out


@pytest.fixture
def stored(minio: Minio, directory: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options that name a store with that log; credentials come from the environment."""
    bucket = f"decisions-{secrets.token_hex(4)}"
    owner = StoreCredentials(access_key=minio.access_key, secret_key=minio.secret_key)
    store = Store(StoreLocation(endpoint=minio.endpoint, secure=False, bucket=bucket), lambda: owner)
    store.client.make_bucket(bucket, object_lock=True)
    for path in directory.rglob("*.*"):
        if path.is_file():
            store.put(path.relative_to(directory).as_posix(), path.read_bytes())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", owner.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", owner.secret_key)
    return ["--endpoint", minio.endpoint, "--insecure", "--bucket", bucket]


def test_a_store_is_verified_and_copied(run: Run, stored: list[str], tmp_path: Path) -> None:
    assert run("verify", *stored)[0] == 0
    assert run("verify", *stored, "--namespace", "games", "--name", "cartpole")[0] == 0
    status, out, _ = run("export", *stored, "--raw", tmp_path / "copy")
    assert status == 0
    assert "note the index's digest: sha256:" in out
    assert run("verify", "--directory", tmp_path / "copy")[0] == 0
    assert run("query", "--directory", tmp_path / "copy", "--limit", 1)[0] == 0


def test_another_agents_log_is_not_taken_for_an_empty_one(run: Run, stored: list[str]) -> None:
    status, out, _ = run("verify", *stored, "--namespace", "games", "--name", "other")
    assert status == 1
    assert "there is no such log here" in out


def test_credentials_may_come_from_a_file(
    run: Run, stored: list[str], minio: Minio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "set --credentials, or the variable AWS_SECRET_ACCESS_KEY" in run("verify", *stored)[2]
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"accessKey": minio.access_key, "secretKey": minio.secret_key}))
    assert run("verify", *stored, "--credentials", file)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["verify"], "set --directory for a copy, or --endpoint for a store", id="no place"),
        pytest.param(["verify", "--directory", "/nowhere"], "/nowhere is not a directory", id="no such directory"),
        pytest.param(
            ["verify", "--directory", ".", "--name", "x"], "--namespace and --name go together", id="half a name"
        ),
        pytest.param(
            ["verify", "--directory", ".", "--against", "/nowhere"], "--against: /nowhere cannot be read", id="no note"
        ),
        pytest.param(["export", "--directory", ".", "--out", "x.csv"], "set parquet or jsonl", id="another format"),
        pytest.param(["export", "--directory", "."], "one of the arguments --out --raw is required", id="no target"),
        pytest.param(
            ["query", "--directory", ".", "--since", "yesterday"],
            "'yesterday' is not a time; write it like",
            id="no time",
        ),
    ],
)
def test_what_cannot_be_asked_so_is_told_with_the_mend(run: Run, arguments: list[str], words: str) -> None:
    status, _, err = run(*arguments)
    assert status == 2
    assert words in err
