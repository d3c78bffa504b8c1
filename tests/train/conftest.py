"""Entry points run as the pods run them: a process, its task in the environment, its report in a file."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from stable_baselines3.common.base_class import BaseAlgorithm
from tests.cluster.minio import Minio

from checkrein.api.digests import sha256
from checkrein.api.environment import RLEnvironmentSpec
from checkrein.api.meta import Model
from checkrein.api.spaces import Interface
from checkrein.api.tasks import (
    EvaluationTask,
    JobIdentity,
    ManifestFile,
    PolicyManifest,
    StoreCredentials,
    StoreLocation,
    TrainingTask,
)
from checkrein.api.training import Acting, TrainingJobSpec
from checkrein.store import buckets, keys
from checkrein.store.artifacts import LoadedArtifact
from checkrein.store.client import Store
from checkrein.train.algorithms import ALGORITHMS
from checkrein.train.export import OPSET, to_onnx
from checkrein.train.policy import FILE, Policy
from checkrein.wrappers.environments import make_environment
from checkrein.wrappers.spaces import interface

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "manifests" / "samples" / "cartpole"


def environment(id_: str, **spec: Any) -> RLEnvironmentSpec:
    """An environment's spec; ids of `bad/`, `tiny/` and `pictures/` come from the modules beside this one."""
    modules = {"bad": "tests.train.badenvs", "tiny": "tests.train.tinyenvs", "pictures": "tests.train.pictures"}
    module = modules.get(id_.partition("/")[0], "")
    return RLEnvironmentSpec.model_validate({"source": {"gymnasium": {"id": id_, "module": module}}, **spec})


def interface_of(spec: RLEnvironmentSpec) -> Interface:
    """The spaces of the environment."""
    env = make_environment(spec)
    found = interface(env, spec.wrappers)
    env.close()
    return found


def job_spec(name: str = "PPO", steps: int = 1000, **fields: Any) -> TrainingJobSpec:
    """A TrainingJob's spec. `algorithm` may give the rest of spec.algorithm."""
    algorithm = {"name": name, **fields.pop("algorithm", {})}
    base = {"environmentRef": {"name": "e"}, "budget": {"steps": steps}, "publish": {"policy": "p"}}
    return TrainingJobSpec.model_validate({**base, "algorithm": algorithm, **fields})


def sample(file: str) -> dict[str, Any]:
    """Spec of a sample manifest."""
    content: dict[str, Any] = yaml.safe_load((SAMPLES / file).read_text())["spec"]
    return content


@dataclass
class Ended:
    """What became of an entry point."""

    code: int
    report: dict[str, Any]
    log: str


@dataclass
class Running:
    """An entry point that was started."""

    process: subprocess.Popen[str]
    report: Path

    def read_until(self, text: str) -> str:
        """The log up to the line that has this text."""
        assert self.process.stderr is not None
        lines: list[str] = []
        for line in self.process.stderr:
            lines.append(line)
            if text in line:
                return "".join(lines)
        raise AssertionError(f"ended without {text!r}: {''.join(lines)}")

    def end(self) -> Ended:
        _, log = self.process.communicate(timeout=560)
        report = self.report.read_bytes() if self.report.exists() else b""
        assert len(report) <= 4096
        return Ended(self.process.returncode, json.loads(report or b"{}"), log)


def start(entry: str, task: Model, folder: Path, prelude: str = "", **variables: str) -> Running:
    """Start `checkrein-ENTRY` on the task, after the lines of a prelude."""
    report = folder / f"report-{secrets.token_hex(4)}.json"
    return Running(
        subprocess.Popen(
            [sys.executable, "-c", f"{prelude}\nfrom checkrein.train.{entry} import main; main()"],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}",
                "OMP_NUM_THREADS": "1",
                "CHECKREIN_TASK": task.model_dump_json(by_alias=True),
                "CHECKREIN_REPORT": str(report),
                "CHECKREIN_PORT": "0",
                **variables,
            },
            stderr=subprocess.PIPE,
            text=True,
        ),
        report,
    )


@dataclass
class Job:
    """A TrainingJob in a real store."""

    store: Store
    credentials: Path
    folder: Path
    environment: RLEnvironmentSpec
    spec: TrainingJobSpec
    identity: JobIdentity = field(
        default_factory=lambda: JobIdentity(cluster="c", namespace="ns", name="j", uid=secrets.token_hex(8))
    )
    prelude: str = ""

    def training(self, attempt: int = 1) -> TrainingTask:
        return TrainingTask(
            job=self.identity,
            attempt=attempt,
            environment=self.environment,
            interface=interface_of(self.environment),
            spec=self.spec,
            store=self._location("train", attempt),
        )

    def evaluation(self, trained: Ended, episodes: int, attempt: int = 1) -> EvaluationTask:
        return EvaluationTask.model_validate(
            {
                "job": self.identity,
                "attempt": attempt,
                "environment": self.environment,
                "interface": interface_of(self.environment),
                "episodes": episodes,
                "manifest": trained.report["manifest"],
                "store": self._location("evaluate", attempt),
            }
        )

    def train(self, attempt: int = 1) -> Running:
        return self.start("trainer", self.training(attempt))

    def start(self, entry: str, task: Model) -> Running:
        return start(entry, task, self.folder, self.prelude, CHECKREIN_CREDENTIALS=str(self.credentials))

    def written(self) -> list[str]:
        """Keys of what the job has stored."""
        return [o.key for o in self.store.list(self._prefix)]

    @property
    def policies(self) -> str:
        """The bucket beside that of runs."""
        return self.store.location.bucket.replace("runs-", "policies-", 1)

    @property
    def _prefix(self) -> str:
        i = self.identity
        return keys.run_prefix(i.cluster, i.namespace, i.uid)

    def _location(self, kind: str, attempt: int) -> StoreLocation:
        prefix = f"{self._prefix}{attempt}/{kind}/"
        return self.store.location.model_copy(update={"read_prefix": self._prefix, "write_prefix": prefix})


@pytest.fixture
def hanging() -> Iterator[str]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="session")
def runs(minio: Minio) -> Store:
    """A bucket for runs."""
    suffix = secrets.token_hex(4)
    owner = StoreCredentials(access_key=minio.access_key, secret_key=minio.secret_key)
    location = StoreLocation(endpoint=minio.endpoint, secure=False, bucket=f"runs-{suffix}")
    store = Store(location, lambda: owner)
    buckets.ensure(store, f"policies-{suffix}", location.bucket)
    return store


@pytest.fixture
def make_job(runs: Store, minio: Minio, tmp_path: Path) -> Any:
    """`make_job(environment, spec)`: a job that has done nothing yet."""
    credentials = tmp_path / "credentials.json"
    owner = StoreCredentials(access_key=minio.access_key, secret_key=minio.secret_key)
    credentials.write_text(owner.model_dump_json(by_alias=True))

    def make(spec: RLEnvironmentSpec, job: TrainingJobSpec) -> Job:
        return Job(runs, credentials, tmp_path, spec, job)

    return make


def task(environment: RLEnvironmentSpec, spec: TrainingJobSpec) -> TrainingTask:
    """A training task for parts that need no store."""
    identity = JobIdentity(cluster="c", namespace="ns", name="j", uid="u")
    return TrainingTask(
        job=identity,
        attempt=1,
        environment=environment,
        interface=interface_of(environment),
        spec=spec,
        store=StoreLocation(endpoint="unused", bucket="unused"),
    )


def exported(made: TrainingTask, model: BaseAlgorithm, acting: Acting = "Deterministic") -> tuple[Policy, bytes]:
    """The policy as an evaluator gets it, and its graph."""
    name, wrappers = made.spec.algorithm.name, made.environment.wrappers
    onnx = to_onnx(model, ALGORITHMS[name], made.interface, wrappers)
    file = ManifestFile(path=FILE, digest=sha256(onnx), size=len(onnx))
    manifest = PolicyManifest(files=[file], interface=made.interface, algorithm=name, opset=OPSET, acting=acting)
    return Policy(LoadedArtifact(manifest, {FILE: onnx})), onnx
