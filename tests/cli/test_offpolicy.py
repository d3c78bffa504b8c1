"""`checkrein audit offpolicy` as a person runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.store.decisions.shadowed import bandit
from tests.store.decisions.writer import LogWriter

from checkrein.cli.main import main
from checkrein.store.decisions.records import Record

Run = Callable[..., tuple[int, str, str]]
ASKED = ("--candidate", "cartpole-2", "--min", 0, "--max", 1)


def written(directory: Path, records: list[Record]) -> Path:
    log = LogWriter()
    log.stream(records, size=500)
    for key, data in log.objects.items():
        (directory / key).parent.mkdir(parents=True, exist_ok=True)
        (directory / key).write_bytes(data)
    return directory


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return written(tmp_path / "log", bandit(np.random.default_rng(1), 1500))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Exit status, what was said, what was complained about."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["audit", "offpolicy", *map(str, arguments)])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


def test_an_estimate_has_its_numbers(run: Run, directory: Path) -> None:
    status, out, err = run("--directory", directory, *ASKED)
    assert (status, err) == (0, "")
    assert "1500 shadowed by cartpole-2, 1500 of them whole in the log" in out
    assert "95 %, whenever one looks" in out
    assert "cartpole-2 would have done better than stable, by" in out


def test_programs_read_it_as_json(run: Run, directory: Path) -> None:
    status, out, _ = run("--directory", directory, *ASKED, "-o", "json")
    document = json.loads(out)
    assert (status, document["refused"], document["episodes"]) == (0, "", 1500)
    assert document["of_candidate"][0] < document["candidate"] < document["of_candidate"][1]
    assert document["difference"][0] > 0


@pytest.mark.parametrize(
    ("records", "words"),
    [
        pytest.param(
            bandit(np.random.default_rng(1), 200, explore=False),
            "REFUSED: stable never explored: its log shows nothing of what another policy would have done",
            id="no exploration",
        ),
        pytest.param(
            bandit(np.random.default_rng(1), 60, steps=6), "REFUSED: episodes have up to 6 steps", id="long episodes"
        ),
        pytest.param(
            bandit(np.random.default_rng(1), 40), "REFUSED: the effective sample size is", id="too few episodes"
        ),
    ],
)
def test_a_refusal_says_why(run: Run, tmp_path: Path, records: list[Record], words: str) -> None:
    status, out, _ = run("--directory", written(tmp_path / "log", records), *ASKED)
    assert status == 1
    assert words in out
    assert "candidate  " not in out


@pytest.mark.parametrize(
    ("asked", "episodes"),
    [
        pytest.param(["--since", "2026-12-01T12:10:00Z"], 900, id="since then"),
        pytest.param(["--until", "2026-12-01T12:10:00Z"], 600, id="until then"),
        pytest.param(["--stable", "cartpole-1"], 1500, id="of that stable"),
        pytest.param(["--stable", "cartpole-0"], 0, id="of another one"),
    ],
)
def test_which_episodes(run: Run, directory: Path, asked: list[str], episodes: int) -> None:
    out = run("--directory", directory, *ASKED, *asked, "-o", "json")[1]
    assert json.loads(out)["episodes"] == episodes


def test_only_proved_records_count(run: Run, directory: Path) -> None:
    next(directory.rglob("000000000501.jsonl.gz")).unlink()
    status, _, err = run("--directory", directory, *ASKED)
    assert status == 1
    assert "SegmentMissing" in err


def test_shadow_records_are_read_back(capsys: pytest.CaptureFixture[str], directory: Path) -> None:
    with pytest.raises(SystemExit):
        main(["audit", "query", "--directory", str(directory), "--kind", "shadow", "--limit", "1"])
    assert json.loads(capsys.readouterr().out)["policy"] == "cartpole-2"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--candidate", "c", "--min", 1, "--max", 1], "bounds must be finite", id="no room"),
        pytest.param(["--candidate", "c", "--min", 0, "--max", 1, "--alpha", 2], "alpha must be", id="no confidence"),
        pytest.param(["--min", 0, "--max", 1], "--candidate", id="no candidate"),
    ],
)
def test_what_cannot_be_asked_so_is_told(run: Run, directory: Path, arguments: list[object], words: str) -> None:
    status, _, err = run("--directory", directory, *arguments)
    assert status == 2
    assert words in err
