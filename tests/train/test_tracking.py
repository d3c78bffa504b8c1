"""Trackers of a trainer on a real store: what they are told, where it lies, and what one that is away costs."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.cluster.processes import free_port
from tests.cluster.steps import ClusterError, wait_until
from tests.train.conftest import Job, environment, job_spec
from wandb.proto.wandb_internal_pb2 import Record

from checkrein.api.training import Budget

pytestmark = pytest.mark.store
HYPERPARAMETERS = {"n_steps": 64, "batch_size": 64, "n_epochs": 2}
STEPS = 4096
PATIENCE = 180  # seconds; every wait ends by its condition
PARTING = "from checkrein.train.tracking import relay\nrelay.PARTING_SECONDS = {}"
"""A tracker's libraries alone may take longer to import than it has after the training."""
TOLD = {"train/loss", "train/value_loss", "train/gradient_norm", "rollout/ep_rew_mean", "rollout/ep_len_mean"}


def tracked_job(make_job: Any, tracking: dict[str, Any], steps: int = STEPS) -> Job:
    """A job of seconds with these trackers."""
    spec = job_spec(
        "PPO",
        steps,
        algorithm={"hyperparameters": HYPERPARAMETERS},
        environments=4,
        checkpoint={"everySteps": 1024},
        tracking=tracking,
    )
    job: Job = make_job(environment("tiny/WideDiscrete-v0"), spec)
    return job


def interrupted(job: Job, seen: Callable[[], bool]) -> tuple[int, int]:
    """Its pod is told to end once the tracker was `seen`, and a second attempt goes on: from which step, to which."""
    job.prelude = PARTING.format(300)
    end, job.spec = job.spec, job.spec.model_copy(update={"budget": Budget(steps=10**9)})
    first = job.train(attempt=1)
    first.read_until("checkpoint of step 1024")
    wait_until(seen, PATIENCE, otherwise=lambda: ClusterError("the tracker was told nothing"))
    first.process.send_signal(signal.SIGTERM)
    ended = first.end()
    assert ended.code == 1, ended.log
    resumed = int(ended.report["checkpoint"]["step"])
    job.spec = end.model_copy(update={"budget": Budget(steps=resumed + STEPS)})
    second = job.train(attempt=2).end()
    assert second.code == 0, second.log
    assert "is left behind" not in second.log, second.log
    return resumed, resumed + STEPS


def kept(job: Job, kind: str) -> bool:
    """Whether the first attempt left something in the store of this tracker."""
    return any(f"/1/train/{kind}/" in key for key in job.written())


def copied(job: Job, kind: str, folder: Path, attempt: int = 2) -> Path:
    """What an attempt left in the store of a tracker, as a person copies it."""
    start = f"/{attempt}/train/{kind}/"
    for key in job.written():
        if start in key:
            target = folder / key.split(start)[1]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(job.store.read_unverified(key, 2**24))
    return folder


def test_event_files_of_an_interrupted_job_are_one_run_that_outlives_its_pods(make_job: Any, tmp_path: Path) -> None:
    job = tracked_job(make_job, {"tensorboard": True})
    resumed, end = interrupted(job, lambda: kept(job, "tensorboard"))
    run = copied(job, "tensorboard", tmp_path / "logs") / "ns" / "j"
    assert len(list(run.iterdir())) == 2, "the second attempt holds what the first one wrote"
    events = EventAccumulator(str(run)).Reload()
    assert set(events.Tags()["scalars"]) >= TOLD
    steps = [event.step for event in events.Scalars("train/loss")]
    assert steps == sorted(set(steps)), "each step once, in order"
    assert steps[0] < resumed < steps[-1]
    assert steps[-1] == end
    told = events.Tensors("checkrein")[-1].tensor_proto.string_val[0].decode()
    assert job.identity.uid in told


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tracking server of MLflow."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--backend-store-uri", f"sqlite:///{folder}/runs.db"],
            stdout=log,
            stderr=log,
            cwd=folder,
            env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            return httpx.get(f"{url}/health").status_code == 200
        except httpx.HTTPError:
            return False

    try:
        wait_until(answers, 300, otherwise=lambda: ClusterError((folder / "log").read_text()))
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def test_an_interrupted_job_is_one_run_of_mlflow_that_leads_back_to_it(server: str, make_job: Any) -> None:
    job = tracked_job(make_job, {"mlflow": {"uri": server, "experiment": "tiny"}})
    client = MlflowClient(tracking_uri=server)

    def runs() -> list[Run]:
        experiment = client.get_experiment_by_name("tiny")
        return client.search_runs([experiment.experiment_id]) if experiment else []

    resumed, end = interrupted(job, lambda: any("train/loss" in run.data.metrics for run in runs()))
    [run] = runs()
    assert (run.info.run_name, run.info.status) == ("ns/j", "FINISHED")
    origin = {key: value for key, value in run.data.tags.items() if key.startswith("checkrein.")}
    assert origin == {
        "checkrein.cluster": "c",
        "checkrein.namespace": "ns",
        "checkrein.name": "j",
        "checkrein.uid": job.identity.uid,
        "checkrein.attempt": "2",
    }
    assert run.data.params["hyperparameters.n_steps"] == "64"
    assert run.data.params["algorithm"] == "PPO"
    assert run.data.metrics.keys() >= TOLD
    steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "train/loss")]
    assert min(steps) < resumed
    assert max(steps) == end


def transaction_log(log: bytes) -> Iterator[bytes]:
    """Its records: LevelDB's log format (log_format.md), behind seven bytes that say whose it is."""
    assert log.startswith(b":W&B")
    at, begun = 7, b""
    while at + 7 <= len(log):
        if at % 32768 > 32768 - 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", log, at)
        begun += log[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # full, last
            yield begun
            begun = b""


def offline_records(folder: Path) -> dict[str, list[Record]]:
    """What `wandb sync` would send of each run directory, by kind."""
    found: dict[str, list[Record]] = {}
    for file in sorted(folder.glob("offline-run-*/run-*.wandb")):
        for data in transaction_log(file.read_bytes()):
            record = Record()
            record.ParseFromString(data)
            found.setdefault(record.WhichOneof("record_type") or "", []).append(record)
    return found


def test_an_interrupted_job_is_one_offline_run_that_can_be_synced(make_job: Any, tmp_path: Path) -> None:
    job = tracked_job(make_job, {"wandb": {"project": "tiny", "entity": "robots"}})
    interrupted(job, lambda: kept(job, "wandb"))
    folder = copied(job, "wandb", tmp_path / "wandb")
    found = offline_records(folder)
    runs = [record.run for record in found["run"]]
    assert {(r.run_id, r.display_name, r.project, r.entity) for r in runs} == {
        (job.identity.uid, "ns/j", "tiny", "robots")
    }
    assert len({path.name for path in folder.glob("offline-run-*")}) == 2
    assert found["exit"][-1].exit.exit_code == 0
    keys = {item.key or "/".join(item.nested_key) for record in found["history"] for item in record.history.item}
    assert keys >= TOLD
    said = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", "--dry-run", "--yes", *map(str, folder.glob("offline-run-*"))],
        capture_output=True,
        text=True,
        env=os.environ | {"HOME": str(tmp_path), "WANDB_API_KEY": "x" * 40},
        check=True,
    )
    assert said.stdout.count(job.identity.uid) + said.stderr.count(job.identity.uid) >= 2


def test_trackers_that_are_away_or_hang_are_told_once_and_cost_no_step(make_job: Any, hanging: str) -> None:
    """And the policy is the one that is learnt without any."""
    plain = tracked_job(make_job, {}).train().end()
    nobody = f"http://127.0.0.1:{free_port()}"
    away = {
        "mlflow": {"uri": nobody},
        "wandb": {"mode": "Online", "baseUrl": hanging, "secretRef": {"name": "wandb"}},
    }
    tracked = tracked_job(make_job, away)
    tracked.prelude = PARTING.format(60)
    ended = tracked.train().end()
    assert ended.code == 0, ended.log
    assert ended.report["manifest"]["digest"] == plain.report["manifest"]["digest"]
    assert ended.report["progress"]["percent"] == 100
    assert ended.log.count("training goes on; spec.tracking: MLflow:") == 1
    assert "WandB did not take the last of it" in ended.log
