"""A store that goes away at each step of a trainer's and an evaluator's life, that is full, and that refuses."""

from __future__ import annotations

import os
import re
import secrets
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from tests.cluster.minio import Minio
from tests.cluster.outage import Outage
from tests.cluster.processes import State, free_port
from tests.cluster.steps import ClusterError, wait_until
from tests.train.conftest import Job, Running, environment, job_spec, start

from checkrein.api.tasks import StoreCredentials, StoreLocation, TrainingProgress
from checkrein.store import buckets
from checkrein.store.client import Store
from checkrein.store.errors import StoreUnavailable
from checkrein.train.checkpoints import Checkpoints

pytestmark = pytest.mark.store
AGAIN = "trying again in"
STEPS = 12_000
FULL = re.compile("XMinioStorageFull|no space left on device")
PATIENCE = 180  # seconds; every wait ends by its condition


def open_runs(minio: Minio) -> Store:
    """Its bucket for runs, as its owner."""
    owner = StoreCredentials(access_key=minio.access_key, secret_key=minio.secret_key)
    store = Store(StoreLocation(endpoint=minio.endpoint, secure=False, bucket="runs"), lambda: owner)
    buckets.ensure(store, "policies", "runs")
    return store


@pytest.fixture(scope="module")
def own(swept: None) -> Iterator[Minio]:
    """A MinIO that may be stopped: nobody else uses it."""
    state = State.create(f"training-minio-{os.getpid()}", owned=True)
    try:
        yield Minio(state)
    finally:
        state.remove()


@pytest.fixture(scope="module")
def small(swept: None) -> Iterator[Minio]:
    """A MinIO with a disk that is soon full."""
    state = State.create(f"small-minio-{os.getpid()}", owned=True)
    try:
        yield Minio(state, disk="48m")
    finally:
        state.remove()


def job_at(minio: Minio, folder: Any, steps: int) -> Job:
    """A job with a checkpoint every 2,048 steps, which takes about a second for as many."""
    credentials = folder / "credentials.json"
    credentials.write_text(StoreCredentials(access_key=minio.access_key, secret_key=minio.secret_key).model_dump_json())
    spec = job_spec(
        "PPO",
        steps,
        algorithm={"hyperparameters": {"n_steps": 64, "batch_size": 64, "n_epochs": 2}},
        environments=4,
        checkpoint={"everySteps": 2048},
    )
    return Job(open_runs(minio), credentials, folder, environment("tiny/WideDiscrete-v0"), spec)


class Trainer:
    """A running trainer that is asked how far it is."""

    def __init__(self, job: Job, attempt: int = 1) -> None:
        port = free_port()
        self._url = f"http://127.0.0.1:{port}/progress"
        variables = {"CHECKREIN_CREDENTIALS": str(job.credentials), "CHECKREIN_PORT": str(port)}
        self.running: Running = start("trainer", job.training(attempt), job.folder, **variables)

    def says(self) -> TrainingProgress | None:
        """Its answer, if it gives one."""
        try:
            return TrainingProgress.model_validate_json(httpx.get(self._url, timeout=60).content)
        except httpx.HTTPError:
            return None

    def until_told(self, reason: str) -> str:
        """Waits until it says that something fails for this reason; its words."""
        said: TrainingProgress | None = None

        def told() -> bool:
            nonlocal said
            said = self.says()
            return said is not None and said.failure is not None and said.failure.reason == reason

        wait_until(told, PATIENCE, otherwise=lambda: ClusterError(f"not told: {reason}; {said}"))
        assert said is not None
        assert said.failure is not None
        return said.failure.message


@pytest.mark.outage
def test_a_store_that_stops_while_a_policy_is_trained_costs_no_attempt(own: Minio, tmp_path: Any) -> None:
    """Checkpoints are lost, training goes on to its end, the export waits, and nothing was trained twice."""
    job = job_at(own, tmp_path, STEPS)
    trainer = Trainer(job)
    trainer.running.read_until("checkpoint of step 2048")
    own.stop()
    outage = Outage()
    try:
        trainer.running.read_until("is lost, training goes on")
        assert "cannot write s3://runs/" in trainer.until_told("StoreUnavailable")
        trainer.running.read_until(AGAIN)
        said = trainer.says()
        assert said is not None
        assert said.progress.percent == 100
        assert said.failure is not None
        outage.last()
    finally:
        own.start()
    ended = trainer.running.end()
    assert ended.code == 0, ended.log
    assert ended.report["progress"]["steps"] >= STEPS

    own.stop()
    try:
        evaluator = job.start("evaluator", job.evaluation(ended, 5))
        evaluator.read_until(AGAIN)
    finally:
        own.start()
    evaluated = evaluator.end()
    assert evaluated.code == 0, evaluated.log


@pytest.fixture(scope="module")
def interrupted(own: Minio, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job whose trainer was killed after some checkpoints."""
    job = job_at(own, tmp_path_factory.mktemp("interrupted"), 10**9)
    first = job.train()
    first.read_until("checkpoint of step 4096")
    first.process.kill()
    first.end()
    return job


def test_a_trainer_waits_for_a_store_and_its_rights_and_then_goes_on_from_its_checkpoint(
    own: Minio, interrupted: Job
) -> None:
    job, good = interrupted, interrupted.credentials.read_text()
    over = datetime(2020, 1, 1, tzinfo=UTC)  # so the file is read again for each request
    wrong = StoreCredentials(access_key=own.access_key, secret_key="wrong" * 8, expiration=over)
    job.credentials.write_text(wrong.model_dump_json(by_alias=True))
    own.stop()
    try:
        trainer = Trainer(job, attempt=2)
        assert "Connection refused" in trainer.until_told("StoreUnavailable")
    finally:
        own.start()
    assert "SignatureDoesNotMatch" in trainer.until_told("AccessDenied")
    job.credentials.write_text(good)
    trainer.running.read_until("resuming from step")
    trainer.running.process.send_signal(signal.SIGTERM)
    ended = trainer.running.end()
    assert ended.report["failure"]["reason"] == "Terminated"
    assert ended.report["checkpoint"]["step"] >= 4096


def fill(store: Store) -> list[str]:
    """Writes until not even a little fits; what was written."""
    written: list[str] = []
    for size in (2**20, 2**17, 2**14, 2**12):
        try:
            while True:
                key = f"filler/{len(written)}"
                store.put(key, secrets.token_bytes(size))
                written.append(key)
        except StoreUnavailable as error:
            assert FULL.search(str(error)), error  # noqa: PT017 - it ends the loop
    return written


def test_a_store_without_room_is_told_and_waited_for(small: Minio, tmp_path: Any) -> None:
    job = job_at(small, tmp_path, STEPS)
    trainer = Trainer(job)
    trainer.running.read_until("checkpoint of step 2048")
    trainer.running.process.send_signal(signal.SIGSTOP)  # it does not come to its end before the store is full
    fillers = fill(job.store)
    trainer.running.process.send_signal(signal.SIGCONT)
    assert FULL.search(trainer.until_told("StoreUnavailable"))
    trainer.running.read_until(AGAIN)
    for key in fillers:
        job.store.delete(key)
    ended = trainer.running.end()
    assert ended.code == 0, ended.log
    assert ended.report["progress"]["percent"] == 100


class Away(Store):
    """A store that lists, and does not give the objects of one checkpoint."""

    def __init__(self, store: Store, step: int) -> None:
        super().__init__(store.location, store.credentials)
        self._withheld = f"/{step:012d}/network.pt"

    def get(self, key: str, *, digest: str, version_id: str | None = None, limit: int = 2**30) -> bytes:
        if key.endswith(self._withheld):
            raise StoreUnavailable(f"cannot read {key}: SlowDownRead")
        return super().get(key, digest=digest, version_id=version_id, limit=limit)


def test_a_checkpoint_that_cannot_be_read_now_is_not_taken_for_damaged_at_once(interrupted: Job) -> None:
    """Or hours of training would be done again for a second's silence; after some tries the one before it will do."""
    job = interrupted
    steps = sorted({int(key.split("/")[-2]) for key in job.written() if key.endswith("/manifest.json")})
    location = job.store.location.model_copy(update={"read_prefix": job.training().store.read_prefix})
    checkpoints = Checkpoints(Away(Store(location, job.store.credentials), steps[-1]))
    restored: list[Any] = []
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            checkpoints.resume(restored.append)
    assert restored == []
    checkpoints.resume(restored.append)
    assert checkpoints.newest is not None
    assert checkpoints.newest.step == steps[-2]
