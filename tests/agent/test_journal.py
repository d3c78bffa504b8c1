"""The decision log through real disks, a real store and real kills: what was promised is kept, what is lost is told."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.agent.journaling import IDENTITY, opened, record
from tests.agent.proxy import Proxy
from tests.cluster.minio import Minio

from checkrein.agent import logfiles
from checkrein.agent.journal import Journal, Pace
from checkrein.api.tasks import StoreCredentials, StoreLocation
from checkrein.store import sessions
from checkrein.store.client import Store
from checkrein.store.decisions import layout
from checkrein.store.decisions.records import DecisionRecord, GapRecord
from checkrein.store.decisions.sources import StoreSource
from checkrein.store.decisions.verify import Audit

PREFIX = "decisions/c/games/uid/"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(minio: Minio) -> Store:
    """What a replica may use: it creates objects below its prefix, and can do nothing else."""
    owner = StoreCredentials(access_key=minio.access_key, secret_key=minio.secret_key)
    bucket = f"decisions-{secrets.token_hex(4)}"
    location = StoreLocation(endpoint=minio.endpoint, secure=False, bucket=bucket, write_prefix=PREFIX)
    made = Store(location, lambda: owner)
    made.client.make_bucket(bucket, object_lock=True)
    return made


def audited(store: Store) -> tuple[Audit, list[DecisionRecord]]:
    """The audit of what is in the store, and its decisions."""
    audit = Audit(StoreSource(store, ""))
    found = [e.record for e in audit.entries() if isinstance(e.record, DecisionRecord)]
    return audit, found


def written(folder: Path) -> bytes:
    """What the segments that are written hold."""
    return b"".join(p.read_bytes() for p in folder.rglob("*.open"))


def sealed(folder: Path) -> list[Path]:
    """The segments that are whole."""
    return sorted(folder.rglob("*.sealed"))


async def until(condition: Callable[[], bool]) -> None:
    """As soon as it holds."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in threads
            await asyncio.sleep(0.01)


@pytest.fixture
async def journal(tmp_path: Path, store: Store) -> AsyncIterator[Journal]:
    running = opened(tmp_path / "log", store)
    yield running
    await running.close()


async def test_what_was_appended_is_in_the_store_once_it_is_closed(tmp_path: Path, store: Store) -> None:
    journal = opened(tmp_path, store)
    sequences = [journal.append(record("a", step)) for step in range(500)]
    assert sequences == list(range(2, 502))  # record 1 says that the stream is opened
    assert await journal.close(60)
    audit, found = audited(store)
    assert audit.findings == []
    assert [r.step for r in found] == list(range(500))
    assert [s.state for s in audit.streams] == ["closed"]
    assert logfiles.stream_folders(tmp_path) == []


async def test_the_store_gets_records_while_the_replica_runs(journal: Journal, store: Store) -> None:
    journal.append(record("a", 0))
    await until(lambda: journal.lag() == (0, 0))
    audit, found = audited(store)
    assert audit.proved
    assert [r.step for r in found] == [0]


async def test_a_durable_record_is_on_the_disk(tmp_path: Path) -> None:
    journal = opened(tmp_path, None)
    assert await journal.durable(journal.append(record("durable", 0)), 60)
    assert b'"episode":"durable"' in written(tmp_path)
    await journal.close()


async def test_many_wait_for_one_sync(tmp_path: Path) -> None:
    journal = opened(tmp_path, None)
    answers = await asyncio.gather(*(journal.durable(journal.append(record("a", s)), 60) for s in range(2000)))
    assert all(answers)
    await journal.close()


async def test_what_was_not_kept_is_not_durable(tmp_path: Path) -> None:
    journal = Journal(tmp_path, IDENTITY, None, pace=Pace(buffer_records=10))  # nobody writes yet
    sequences = [journal.append(record("a", step)) for step in range(12)]
    assert sequences[-2:] == [0, 0]
    assert not await journal.durable(0, 10)
    assert not await journal.durable(sequences[0], 0.01)
    await journal.close(0.1)


async def test_records_that_find_no_room_leave_a_gap(tmp_path: Path, store: Store) -> None:
    journal = Journal(tmp_path, IDENTITY, store, pace=Pace(buffer_records=10, seal=0.1))
    for step in range(15):
        journal.append(record("a", step))
    journal.start()
    await until(lambda: journal.lag()[0] == 0)
    journal.append(record("b", 0))
    assert await journal.close(60)
    audit, found = audited(store)
    assert audit.proved
    assert [(r.episode, r.step) for r in found] == [*(("a", s) for s in range(10)), ("b", 0)]
    assert (audit.streams[0].lost, journal.lost) == (5, 5)
    assert [f.code for f in audit.findings] == ["Gap"]


async def test_large_observations_are_bounded_by_their_size(tmp_path: Path) -> None:
    journal = Journal(tmp_path, IDENTITY, None, pace=Pace(buffer_bytes=10 * 2**20))
    image = [[0.5] * 100] * 1000
    kept = [journal.append(record("a", step, observation=image)) for step in range(10)]
    assert 1 < sum(map(bool, kept)) < 10
    await journal.close(0.1)


@pytest.mark.parametrize("mend", [True, False], ids=["mended while it runs", "never mended"])
async def test_a_folder_that_cannot_be_written_is_told_and_tried_again(
    tmp_path: Path, store: Store, mend: bool
) -> None:
    folder = tmp_path / "log"
    folder.write_text("in the way")
    journal = opened(folder, store)
    sequence = journal.append(record("a", 0))
    await until(lambda: not journal.healthy)
    assert str(folder) in journal.reason
    assert "exists" in journal.reason
    assert not await journal.durable(sequence, 10)
    if mend:
        folder.unlink()
        await until(lambda: journal.healthy)
        assert await journal.durable(sequence, 60)
        assert await journal.close(60)
        assert [r.step for r in audited(store)[1]] == [0]
    else:
        assert not await journal.close(0.5)


async def test_a_failed_write_is_written_again(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """No disk here can be made to fail at will: the system calls are."""
    journal = opened(tmp_path, store)
    assert await journal.durable(journal.append(record("a", 0)), 60)
    real, failures = {name: getattr(os, name) for name in ("pwrite", "fdatasync")}, iter(range(6))

    def failing(name: str) -> Callable[..., int]:
        def call(*arguments: object) -> int:
            if (turn := next(failures, None)) is None:
                return int(real[name](*arguments) or 0)
            if name == "pwrite" and turn % 2:
                real[name](arguments[0], bytes(arguments[1])[:7], arguments[2])  # type: ignore[call-overload] # half a line
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        return call

    for name in real:
        monkeypatch.setattr(os, name, failing(name))
    for step in range(1, 400):
        journal.append(record("a", step))
        await asyncio.sleep(0)
    await until(lambda: next(failures, None) is None)
    await until(lambda: journal.healthy and journal.lag()[0] == 0)
    assert await journal.close(60)
    audit, found = audited(store)
    assert audit.findings == []
    assert [r.step for r in found] == list(range(400))


async def test_a_full_disk_loses_nothing_that_finds_room_again(tmp_path: Path, store: Store) -> None:
    """Full is what the store has not got: `disk_bytes` stands for the volume's size."""
    away = Proxy(f"http://{store.location.endpoint}")
    away.cut()
    endpoint = away.url.removeprefix("https://")
    distant = Store(store.location.model_copy(update={"endpoint": endpoint}), store.credentials)
    journal = opened(tmp_path, distant, Pace(seal=0.05, anchor=0.1, seal_bytes=8192, disk_bytes=40_000))
    for step in range(300):
        journal.append(record("a", step))
    await until(lambda: not journal.healthy and bool(journal.store_reason))
    assert "wait for the store" in journal.reason or "wait" in journal.reason
    assert not await journal.durable(journal.append(record("a", 300)), 10)
    away.open()
    await until(lambda: journal.healthy and journal.lag()[0] == 0)
    assert await journal.close(60)
    away.cut()
    audit, found = audited(store)
    assert audit.findings == []
    assert [r.step for r in found] == list(range(301))


async def test_a_store_that_is_away_costs_no_record_and_no_durability(tmp_path: Path, store: Store) -> None:
    away = Proxy(f"http://{store.location.endpoint}")
    endpoint = away.url.removeprefix("https://")
    distant = Store(store.location.model_copy(update={"endpoint": endpoint}), store.credentials)
    journal = opened(tmp_path, distant)
    assert await journal.durable(journal.append(record("a", 0)), 60)
    away.cut()
    await until(lambda: bool(journal.store_reason) or not journal.append(record("b", 0)))
    assert journal.healthy
    assert await journal.durable(journal.append(record("a", 1)), 60)
    away.open()
    assert await journal.close(60)
    away.cut()
    audit, found = audited(store)
    assert audit.proved
    assert [r.step for r in found if r.episode == "a"] == [0, 1]


async def test_the_next_boot_names_the_last(tmp_path: Path, store: Store) -> None:
    for boot in range(3):
        journal = opened(tmp_path, store)
        journal.append(record(f"boot-{boot}", 0))
        assert await journal.close(60)
    audit, _ = audited(store)
    assert audit.findings == []
    assert [layout.boot_of(s.stream) for s in audit.streams] == [1, 2, 3]
    for key in [k for k in StoreSource(store, "").listing() if ".2-" in k]:
        for version in store.versions(key):
            store.client.remove_object(store.location.bucket, key, version_id=version.version_id)
    later = StoreSource(store, "", now=lambda: datetime.now(UTC) + timedelta(hours=1))
    assert "StreamMissing" in {f.code for f in Audit(later).run().findings}


async def test_a_folder_that_is_lost_with_its_count_of_boots_makes_no_two_streams_one(
    tmp_path: Path, store: Store
) -> None:
    for folder in ("lost", "new"):
        journal = opened(tmp_path / folder, store)
        journal.append(record(folder, 0))
        assert await journal.close(60)
    audit, found = audited(store)
    assert audit.findings == []
    assert sorted(r.episode for r in found) == ["lost", "new"]


async def test_two_processes_cannot_write_one_folder(tmp_path: Path) -> None:
    first, second = opened(tmp_path, None), opened(tmp_path, None)
    await until(lambda: bool(first.reason) or bool(second.reason))
    holder, other = (second, first) if first.reason else (first, second)
    assert "unavailable" in other.reason
    await holder.close()
    await until(lambda: other.healthy)
    assert await other.durable(other.append(record("a", 0)), 60)
    await other.close()


def start(folder: Path, store: Store | None, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.agent.journaling", str(folder)]
    if store:
        keys = store.credentials().model_dump(mode="json")
        command.append(json.dumps([store.location.model_dump(mode="json"), keys]))
    paths = {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | paths | environment, cwd=ROOT)


def kill_after(process: subprocess.Popen[str], acknowledged: int, word: str = "durable") -> set[tuple[str, int]]:
    """What the process said was durable before it was killed, once it had said `word` so many times."""
    assert process.stdout
    told: list[str] = []
    while sum(line.startswith(word) for line in told) < acknowledged:
        told.append(process.stdout.readline())
        assert told[-1], "the process ended before it was killed"
    process.send_signal(signal.SIGKILL)
    told += process.stdout.readlines()
    process.wait()
    durable = [line.split()[1:] for line in told if line.startswith("durable") and line.endswith("\n")]
    return {(episode, int(step)) for episode, step in durable}


@pytest.mark.parametrize("stored", [True, False], ids=["the store is there", "the store was away"])
async def test_what_was_durable_outlives_kills(tmp_path: Path, store: Store, stored: bool) -> None:
    promised: set[tuple[str, int]] = set()
    for acknowledged in (1, 40, 400):
        promised |= kill_after(start(tmp_path, store if stored else None), acknowledged)
    assert await opened(tmp_path, store).close(60)
    audit, found = audited(store)
    assert audit.proved, audit.findings
    assert promised <= {(r.episode, r.step) for r in found}
    assert {s.state for s in audit.streams} == {"recovered", "closed"}
    assert {f.code for f in audit.findings} <= {"Cut", "StepsMissing"}


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        pytest.param(lambda data: data[:-5], 2, id="the last line is torn"),
        pytest.param(lambda data: data + b'{"seq":5,"ha', 3, id="a line was begun"),
        pytest.param(lambda data: data + bytes(4096), 3, id="a page of zeros"),
        pytest.param(lambda data: data, 3, id="nothing is torn"),
    ],
)
async def test_a_torn_tail_is_cut_off_and_told(
    tmp_path: Path, store: Store, damage: Callable[[bytes], bytes], left: int
) -> None:
    abandoned = opened(tmp_path / "before", None, Pace(seal=3600))
    for step in range(3):
        assert await abandoned.durable(abandoned.append(record("a", step)), 60)
    for path in (tmp_path / "before").rglob("*.open"):  # as its disk was when the machine stopped
        target = tmp_path / "after" / path.parent.name / path.name
        target.parent.mkdir(parents=True)
        target.write_bytes(damage(path.read_bytes()))
    assert await opened(tmp_path / "after", store).close(60)
    audit, found = audited(store)
    assert audit.proved
    assert [r.step for r in found] == list(range(left))
    assert ("Cut" in {f.code for f in audit.findings}) == (damage(b"x" * 9) != b"x" * 9)
    await abandoned.close(0.1)


async def test_a_recovery_that_is_interrupted_is_repeated(tmp_path: Path, store: Store) -> None:
    kill_after(start(tmp_path, None), 100)
    [folder] = logfiles.stream_folders(tmp_path)
    first = logfiles.recover(folder, "2026-12-01T12:00:00.000000Z")
    again = logfiles.recover(folder, "2026-12-01T13:00:00.000000Z")
    assert first == again
    assert await opened(tmp_path, store).close(60)
    assert audited(store)[0].proved


async def test_a_disk_that_is_full_costs_nothing_that_was_durable(tmp_path: Path, store: Store) -> None:
    """The kernel refuses to let the segment grow; the process goes on until it is killed."""
    promised = kill_after(start(tmp_path, None, LIMIT="30000"), 1, "unhealthy")
    assert promised
    assert await opened(tmp_path, store).close(60)
    audit, found = audited(store)
    assert audit.proved
    assert promised <= {(r.episode, r.step) for r in found}


async def test_the_right_to_create_below_its_prefix_is_enough(tmp_path: Path, store: Store, minio: Minio) -> None:
    granted = sessions.agent_policy(store.location, store.location)
    session = sessions.mint(store.location, store.credentials(), granted, 3600)
    journal = opened(tmp_path, Store(store.location, lambda: session))
    journal.append(record("a", 0))
    assert await journal.close(60)
    assert audited(store)[0].findings == []


async def test_a_segment_that_vanished_from_the_disk_holds_nothing_up(tmp_path: Path, store: Store) -> None:
    away = Proxy(f"http://{store.location.endpoint}")
    endpoint = away.url.removeprefix("https://")
    distant = Store(store.location.model_copy(update={"endpoint": endpoint}), store.credentials)
    journal = opened(tmp_path, distant)
    journal.append(record("first", 0))
    await until(lambda: journal.lag() == (0, 0))
    away.cut()
    assert await journal.durable(journal.append(record("vanished", 0)), 60)
    await until(lambda: len(sealed(tmp_path)) > 1 and bool(journal.store_reason))
    sealed(tmp_path)[-1].unlink()
    away.open()
    journal.append(record("later", 0))
    assert await journal.close(60)
    away.cut()
    audit, found = audited(store)
    assert [r.episode for r in found] == ["first", "later"]
    assert "SegmentMissing" in {f.code for f in audit.findings if f.severity == "error"}


async def test_a_record_that_is_no_json_leaves_a_gap(tmp_path: Path, store: Store) -> None:
    journal = opened(tmp_path, store)
    journal.append(record("a", 0, action=object()))
    journal.append(record("a", 0))
    assert await journal.close(60)
    entries = [e.record for e in Audit(StoreSource(store, "")).entries()]
    assert [type(e) for e in entries[1:3]] == [GapRecord, DecisionRecord]
