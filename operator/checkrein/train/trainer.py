"""Entry point `checkrein-trainer`: one attempt at a TrainingJob, from the newest checkpoint to the exported policy."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch
from prometheus_client import CollectorRegistry
from stable_baselines3.common.base_class import BaseAlgorithm

from checkrein.api.meta import FileReference
from checkrein.api.tasks import Failure, TrainingReport, TrainingTask
from checkrein.store import artifacts
from checkrein.store.client import Store
from checkrein.store.errors import StoreError
from checkrein.store.metering import StoreMetrics
from checkrein.train import dense, export, session, verification
from checkrein.train.algorithms import ALGORITHMS, Algorithm
from checkrein.train.checkpoints import Checkpoints
from checkrein.train.failures import Failed
from checkrein.train.learning import Seams, Stop, learn
from checkrein.train.logged import Logged
from checkrein.train.model import build
from checkrein.train.observations import gather
from checkrein.train.patience import patiently, told_of
from checkrein.train.policy import FILE
from checkrein.train.progress import Meter, serve
from checkrein.train.state import capture, restore
from checkrein.train.tracking.points import Points
from checkrein.train.tracking.relay import Relay, part

VERIFIED_OBSERVATIONS = 500
PATIENCE_SECONDS = 3600.0  # with a store that is away: what was trained is worth more than a waiting pod

T = TypeVar("T")
GRACE_SECONDS = 20.0
"""Of the 30 s between SIGTERM and SIGKILL (checkrein.control.workloads.jobs); the rest is for upload and report."""


def main() -> None:
    """Train what the task in CHECKREIN_TASK says."""
    sys.exit(session.run(TrainingTask, train, lambda failure: TrainingReport(failure=failure)))


def train(task: TrainingTask) -> TrainingReport:
    """One attempt. Raises Failed before learning starts; from then on a report says how far it came."""
    stop = Stop(GRACE_SECONDS)
    signal.signal(signal.SIGTERM, stop.request)
    # Small networks learn slower with more threads than one; a person who knows better sets the variable.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    model, algorithm = build(task), ALGORITHMS[task.spec.algorithm.name]
    registry = CollectorRegistry()
    store = session.open_store(task.store, StoreMetrics(registry).observe)
    checkpoints = Checkpoints(store)
    budget = task.spec.budget
    duration, logged = budget.duration.total_seconds() if budget.duration else None, Logged()
    relays = [Relay(name) for name in task.spec.tracking.names] if task.spec.tracking else []
    meter = Meter(model, budget.steps, duration, checkpoints, logged, relays)
    manifest: FileReference | None = None
    failure: Failure | None = None
    with serve(meter, registry):
        try:
            wait = _Patience(model, checkpoints, stop)
            wait(lambda: checkpoints.resume(partial(restore, model, algorithm)))
            meter.begin()
            _learn(task, model, algorithm, checkpoints, meter, stop, logged, Points(relays, meter, logged))
            manifest = _export(task, model, algorithm, store, wait)
        except Failed as error:
            failure = error.failure
        except StoreError as error:
            failure = told_of(error)
        checkpoints.wait()
        part(relays, trained=failure is None, hurried=stop.requested)
    return TrainingReport(failure=failure, manifest=manifest, progress=meter.read(), checkpoint=checkpoints.newest)


class _Patience:
    """Waits for the store, says so, and ends when the pod is told to."""

    def __init__(self, model: BaseAlgorithm, checkpoints: Checkpoints, stop: Stop) -> None:
        self._model, self._checkpoints, self._stop = model, checkpoints, stop

    def __call__(self, work: Callable[[], T]) -> T:
        return patiently(work, self._checkpoints.tell, self._ended, PATIENCE_SECONDS)

    def _ended(self) -> None:
        if self._stop.requested:
            message = f"the pod was told to end at step {self._model.num_timesteps} while it waited for the store"
            raise Failed("Terminated", message, permanent=False)


def _learn(
    task: TrainingTask,
    model: BaseAlgorithm,
    algorithm: Algorithm,
    checkpoints: Checkpoints,
    meter: Meter,
    stop: Stop,
    logged: Logged,
    points: Points,
) -> None:
    """To the end of the budget. Raises Failed, on SIGTERM too."""

    def save() -> None:
        checkpoints.save(model.num_timesteps, capture(model, algorithm))

    spec = task.spec
    seams = Seams(spec.checkpoint.every_steps, spec.seed, stop, meter.deadline, save)
    learn(model, spec.budget.steps, seams, logged, points)
    checkpoints.wait()
    if seams.stopped:
        kept = checkpoints.newest.step if checkpoints.newest else 0
        message = (
            f"the pod was told to end at step {model.num_timesteps} of {spec.budget.steps}; the next one goes on from "
            f"the checkpoint of step {kept}"
        )
        raise Failed("Terminated", message, permanent=False)


def _export(
    task: TrainingTask, model: BaseAlgorithm, algorithm: Algorithm, store: Store, wait: _Patience
) -> FileReference:
    """Write, compare, upload."""
    wrappers = task.environment.wrappers
    onnx = export.to_onnx(model, algorithm, task.interface, wrappers)
    observations = gather(task.environment, VERIFIED_OBSERVATIONS, task.spec.seed)
    verification.verify(onnx, model, task.interface, observations, wrappers)
    files = {FILE: onnx}
    wrapped = any(wrapper.at == "Policy" for wrapper in wrappers)  # which the layers alone do not say
    if not wrapped and (layers := dense.to_dense(model, task.interface)):
        files[dense.FILE] = layers
    return wait(
        lambda: artifacts.export(
            store,
            files,
            task.interface,
            task.spec.algorithm.name,
            export.OPSET,
            task.spec.algorithm.acting,
            task.environment.safety,
        )
    )
