"""`make bench-log`: what the decision log costs, how fast it is durable, and what 200 SIGKILLs take from it.

First of the log alone, as hard as it goes; then of a whole agent under load.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.agent.journaling import opened, record
from tests.bench import log_agent
from tests.bench.installation import installation
from tests.bench.report import Figure, write
from tests.cluster.cache import REPOSITORY
from tests.cluster.minio import Minio
from tests.cluster.processes import State
from tests.cluster.steps import say, step

from checkrein.agent.journal import Journal, Pace
from checkrein.api.tasks import StoreCredentials, StoreLocation
from checkrein.store.client import Store
from checkrein.store.decisions.records import DecisionRecord
from checkrein.store.decisions.sources import StoreSource
from checkrein.store.decisions.verify import Audit

SEED = 0


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser("python -m tests.bench.log", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--appends", type=int, default=20_000, help="for each measurement")
    parser.add_argument("--seconds", type=float, default=10, help="of load on the agent, for each measurement")
    options = parser.parse_args()
    build = REPOSITORY / "build"
    build.mkdir(exist_ok=True)
    found: list[Figure] = []
    with tempfile.TemporaryDirectory(dir=build) as folder, _store() as store:
        with step("appending"):
            found += asyncio.run(_speed(Path(folder, "speed"), store, options.appends))
        with step(f"killing {options.kills} times"):
            found += _kills(Path(folder, "kills"), store, options.kills)
    with tempfile.TemporaryDirectory(dir=build) as folder, installation() as surroundings:
        with step("deciding durably"):
            found += log_agent.speed(surroundings, Path(folder), seconds=options.seconds, warm_up=1)
        with step(f"killing a replica {options.kills} times"):
            found += log_agent.kills(surroundings, Path(folder, "log"), options.kills)
    write("log", found, kills=options.kills)


@contextmanager
def _store() -> Iterator[Store]:
    """A MinIO of its own, with a bucket for the log."""
    state = State.create(f"bench-log-{os.getpid()}", owned=True)
    try:
        minio = Minio(state)
        owner = StoreCredentials(access_key=minio.access_key, secret_key=minio.secret_key)
        location = StoreLocation(
            endpoint=minio.endpoint, secure=False, bucket="decisions", write_prefix="decisions/c/bench/uid/"
        )
        store = Store(location, lambda: owner)
        store.client.make_bucket(location.bucket, object_lock=True)
        yield store
    finally:
        state.remove()


async def _speed(folder: Path, store: Store, appends: int) -> list[Figure]:
    """All with a real store behind."""
    journal = opened(folder, store, Pace())
    assert await journal.durable(journal.append(record("first", 0)), 30)
    alone = [await _timed(journal, step) for step in range(appends // 10)]
    at_16 = await _together(journal, 16, appends)
    at_256 = await _together(journal, 256, appends)
    cost, written = await _burst(journal, appends)
    assert await journal.close(60)
    quantiles = statistics.quantiles(alone, n=100)
    return [
        Figure("append, on the event loop", cost * 1e6, "us", "<= 5"),
        Figure("records written in a burst", written, "records/s"),
        Figure("durable append: p50", quantiles[49] * 1e3, "ms"),
        Figure("durable append: p99", quantiles[98] * 1e3, "ms"),
        Figure("durable appends, 16 at once", at_16, "records/s"),
        Figure("durable appends, 256 at once", at_256, "records/s"),
        Figure("records lost at that", journal.lost, "records", "<= 0"),
    ]


async def _timed(journal: Journal, number: int) -> float:
    began = time.perf_counter()
    assert await journal.durable(journal.append(record("alone", number)), 30)
    return time.perf_counter() - began


async def _together(journal: Journal, workers: int, appends: int) -> float:
    async def work(worker: int) -> None:
        for number in range(appends // workers):
            assert await journal.durable(journal.append(record(f"together-{worker}", number)), 30)

    began = time.perf_counter()
    await asyncio.gather(*map(work, range(workers)))
    return appends // workers * workers / (time.perf_counter() - began)


async def _burst(journal: Journal, appends: int) -> tuple[float, float]:
    """Seconds of the event loop for each append, and how many are on the disk in a second."""
    ready = [record("burst", number) for number in range(min(appends, Pace().buffer_records))]
    began = time.perf_counter()
    for one in ready:
        sequence = journal.append(one)
    appended = time.perf_counter() - began
    assert await journal.durable(sequence, 60)
    return appended / len(ready), len(ready) / (time.perf_counter() - began)


@dataclass
class _Told:
    """What killed processes had said."""

    durable: set[tuple[str, int]] = field(default_factory=set)
    unhealthy: int = 0

    def read(self, output: IO[str], first: threading.Event) -> None:
        """Until the process is gone; what the kill tore is no promise."""
        for line in output:
            if line.startswith("durable") and line.endswith("\n"):
                _, episode, number = line.split()
                self.durable.add((episode, int(number)))
                first.set()
            elif line.startswith("unhealthy"):
                self.unhealthy += 1


def _kills(folder: Path, store: Store, kills: int) -> list[Figure]:
    rng, told = random.Random(SEED), _Told()
    for number in range(kills):
        _kill_one(folder, store, rng.uniform(0.0, 0.6), told)
        if number % 20 == 19:
            say(f"{number + 1} kills, {len(told.durable)} records promised")
    journal = opened(folder, store)

    async def close() -> bool:
        return await journal.close(120)

    stored = asyncio.run(close())
    audit, kept = Audit(StoreSource(store, store.location.write_prefix)), set()
    for entry in audit.entries():
        if isinstance(entry.record, DecisionRecord):
            kept.add((entry.record.episode, entry.record.step))
    for finding in audit.findings:
        if finding.severity == "error":
            say(f"{finding.code}: {finding.stream}: {finding.message}")
    return [
        Figure("SIGKILLs under load", kills, "kills"),
        Figure("records that were said to be durable", len(told.durable), "records"),
        Figure("of these, missing in the store", len(told.durable - kept), "records", "<= 0"),
        Figure("records in the store", len(kept), "records"),
        Figure("errors that the audit finds", sum(f.severity == "error" for f in audit.findings), "errors", "<= 0"),
        Figure("appends that could not be made durable", told.unhealthy, "records", "<= 0"),
        Figure("stored to the end", float(stored), "", ">= 1"),
    ]


def _kill_one(folder: Path, store: Store, seconds: float, told: _Told) -> None:
    """A process that appends as fast as it can, killed so long after its first promise."""
    keys = store.credentials().model_dump(mode="json")
    named = json.dumps([store.location.model_dump(mode="json"), keys])
    command = [sys.executable, "-m", "tests.agent.journaling", str(folder), named]
    env = os.environ | {"PYTHONPATH": f"{REPOSITORY / 'operator'}:{REPOSITORY}"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, cwd=REPOSITORY)
    assert process.stdout
    first = threading.Event()
    reader = threading.Thread(target=told.read, args=(process.stdout, first))
    reader.start()
    if not first.wait(60):
        raise RuntimeError("the process that was to be killed promised nothing within 60 s")
    time.sleep(seconds)
    process.kill()
    process.wait()
    reader.join()


if __name__ == "__main__":
    main()
