"""`make bench-training`: what a trainer costs beside bare Stable-Baselines3, and whether its ETA is right.

Both train the same in processes of their own, turn by turn. Ours does what it does in a pod: it tells its progress,
which is asked for as the operator does, keeps metrics, and stores checkpoints in a real MinIO.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.bench.report import Figure, write
from tests.cluster.cache import REPOSITORY
from tests.cluster.minio import Minio
from tests.cluster.processes import State, free_port
from tests.cluster.steps import step

from checkrein.api.environment import RLEnvironmentSpec
from checkrein.api.meta import parse_duration
from checkrein.api.tasks import JobIdentity, StoreCredentials, StoreLocation, TrainingProgress, TrainingTask
from checkrein.api.training import TrainingJobSpec
from checkrein.store import buckets, keys
from checkrein.store.client import Store
from checkrein.wrappers.environments import make_environment
from checkrein.wrappers.spaces import interface

ASKED_EVERY = 2.0  # as the operator does (checkrein.control.settings)
SHARE = 20  # percent of the run after which its ETA is looked at
ENVIRONMENT = "CartPole-v1"
# Half a minute and more each: an ETA is told in whole seconds. Checkpoints as often as by default.
CASES: dict[str, dict[str, Any]] = {
    "PPO": {
        "algorithm": {"name": "PPO", "hyperparameters": {"n_steps": 128, "batch_size": 256, "n_epochs": 10}},
        "environments": 8,
        "budget": {"steps": 400_000},
    },
    "DQN": {
        "algorithm": {"name": "DQN", "hyperparameters": {"buffer_size": 50_000, "learning_starts": 1_000}},
        "budget": {"steps": 120_000},
    },
}


@dataclass(frozen=True)
class Run:
    """One training: seconds by the clock and of the processor; how far the ETA was off, in percent of what was left."""

    seconds: float
    processor: float
    eta_error: float | None = None


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser("python -m tests.bench.training", description=__doc__)
    parser.add_argument("--pairs", type=int, default=7, help="repetitions of each case")
    parser.add_argument("--share", type=float, default=1.0, help="of each case's budget, to try it out")
    options = parser.parse_args()
    figures: list[Figure] = []
    with _store() as (store, credentials):
        for name, case in CASES.items():
            spec = _spec(case, options.share)
            pairs = []
            for index in range(options.pairs):
                with step(f"{name}, pair {index + 1} of {options.pairs}"):
                    order = ("ours", "bare") if index % 2 == 0 else ("bare", "ours")
                    found = {who: _train(who, _task(spec, store, f"{name}-{index}"), credentials) for who in order}
                    pairs.append((found["ours"], found["bare"]))
            figures += told(name, spec.budget.steps, pairs)
    write("training", figures, pairs=options.pairs, share=options.share)


def told(name: str, steps: int, pairs: list[tuple[Run, Run]]) -> list[Figure]:
    """The figures of one case. Overheads are medians over pairs: what else the machine does meets both alike."""
    ours, bare = zip(*pairs, strict=True)
    errors = [run.eta_error for run in ours if run.eta_error is not None]
    slower = [100 * (a.seconds / b.seconds - 1) for a, b in pairs]
    dearer = [100 * (a.processor / b.processor - 1) for a, b in pairs]
    return [
        Figure(f"{name}: trainer", steps / statistics.median(r.seconds for r in ours), "steps/s"),
        Figure(f"{name}: bare", steps / statistics.median(r.seconds for r in bare), "steps/s"),
        Figure(f"{name}: overhead", statistics.median(slower), "%", "<= 3"),
        Figure(f"{name}: overhead, processor time", statistics.median(dearer), "%"),
        Figure(f"{name}: ETA off at {SHARE} %", statistics.median(errors) if errors else None, "%", "<= 10"),
    ]


def eta_error(readings: list[tuple[float, TrainingProgress]], ended: float) -> float | None:
    """Of the first reading after SHARE percent: how far the ETA was off, in percent of what was really left."""
    for at, said in readings:
        if said.progress.percent >= SHARE and said.progress.eta:
            promised: Any = parse_duration(said.progress.eta)
            left = ended - at
            return 100 * abs(promised.total_seconds() - left) / left if left > 0 else None
    return None


def _spec(case: dict[str, Any], share: float) -> TrainingJobSpec:
    budget = {"steps": max(1, round(case["budget"]["steps"] * share))}
    whole = {"environmentRef": {"name": "e"}, "publish": {"policy": "p"}, **case, "budget": budget}
    return TrainingJobSpec.model_validate(whole)


def _task(spec: TrainingJobSpec, store: Store, uid: str) -> TrainingTask:
    environment = RLEnvironmentSpec.model_validate({"source": {"gymnasium": {"id": ENVIRONMENT}}})
    prefix = keys.run_prefix("bench", "bench", uid)
    return TrainingTask(
        job=JobIdentity(cluster="bench", namespace="bench", name="bench", uid=uid),
        attempt=1,
        environment=environment,
        interface=interface(make_environment(environment)),
        spec=spec,
        store=store.location.model_copy(
            update={"read_prefix": prefix, "write_prefix": keys.training_prefix("bench", "bench", uid, 1)}
        ),
    )


def _train(who: str, task: TrainingTask, credentials: str) -> Run:
    """In a process of its own, asked for its progress until it ends. Raises SystemExit where it fails."""
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{REPOSITORY / 'operator'}:{REPOSITORY}",
        "OMP_NUM_THREADS": "1",
        "CHECKREIN_TASK": task.model_dump_json(by_alias=True),
        "CHECKREIN_CREDENTIALS": credentials,
        "CHECKREIN_PORT": str(port),
    }
    command = [sys.executable, "-m", "tests.bench.training_run", who]
    with subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        readings = []
        while process.poll() is None:
            if said := _ask(port):
                readings.append((time.time(), said))
            try:
                process.wait(ASKED_EVERY)
            except subprocess.TimeoutExpired:
                continue
        assert process.stdout
        if process.returncode:
            sys.exit(f"{who} ended with {process.returncode}")
        found = json.loads(process.stdout.read())
    return Run(found["seconds"], found["processor"], eta_error(readings, found["ended"]))


def _ask(port: int) -> TrainingProgress | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/progress", timeout=2) as answer:
            return TrainingProgress.model_validate_json(answer.read())
    except (urllib.error.URLError, OSError):
        return None


@contextmanager
def _store() -> Iterator[tuple[Store, str]]:
    """A MinIO of its own with a bucket for runs, and the file with its credentials."""
    state = State.create(f"bench-training-{os.getpid()}", owned=True)
    try:
        minio = Minio(state)
        owner = StoreCredentials(access_key=minio.access_key, secret_key=minio.secret_key)
        store = Store(StoreLocation(endpoint=minio.endpoint, secure=False, bucket="runs"), lambda: owner)
        buckets.ensure(store, "policies", "runs")
        file = state.path / "credentials.json"
        file.write_text(owner.model_dump_json(by_alias=True))
        yield store, str(file)
    finally:
        state.remove()


if __name__ == "__main__":
    main()
