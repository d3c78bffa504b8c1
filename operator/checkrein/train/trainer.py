"""Entry point `checkrein-trainer`: one attempt at a TrainingJob, from the newest checkpoint to the exported policy."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial

import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from checkrein.api.meta import FileReference
from checkrein.api.tasks import Failure, TrainingReport, TrainingTask
from checkrein.store import artifacts
from checkrein.store.client import Store
from checkrein.train import dense, export, session
from checkrein.train.algorithms import ALGORITHMS, Algorithm
from checkrein.train.checkpoints import Checkpoints
from checkrein.train.failures import Failed
from checkrein.train.learning import Seams, Stop, learn
from checkrein.train.model import build
from checkrein.train.observations import gather
from checkrein.train.policy import FILE
from checkrein.train.progress import Meter, serve
from checkrein.train.state import capture, restore

VERIFIED_OBSERVATIONS = 500


def main() -> None:
    """Train what the task in CHECKREIN_TASK says."""
    sys.exit(session.run(TrainingTask, train, lambda failure: TrainingReport(failure=failure)))


def train(task: TrainingTask) -> TrainingReport:
    """One attempt. Raises Failed, StoreError before learning starts; from then on a report says how far it came."""
    stop = Stop()
    signal.signal(signal.SIGTERM, stop.request)
    # Small networks learn slower with more threads than one; a person who knows better sets the variable.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    model, algorithm = build(task), ALGORITHMS[task.spec.algorithm.name]
    store = session.open_store(task.store)
    checkpoints = Checkpoints(store)
    checkpoints.resume(partial(restore, model, algorithm))
    budget = task.spec.budget
    meter = Meter(model, budget.steps, budget.duration.total_seconds() if budget.duration else None, checkpoints)
    manifest: FileReference | None = None
    failure: Failure | None = None
    with serve(meter):
        try:
            _learn(task, model, algorithm, checkpoints, meter, stop)
            manifest = _export(task, model, algorithm, store)
        except Failed as error:
            failure = error.failure
        checkpoints.wait()
    return TrainingReport(failure=failure, manifest=manifest, progress=meter.read(), checkpoint=checkpoints.newest)


def _learn(
    task: TrainingTask,
    model: BaseAlgorithm,
    algorithm: Algorithm,
    checkpoints: Checkpoints,
    meter: Meter,
    stop: Stop,
) -> None:
    """To the end of the budget. Raises Failed; on SIGTERM after a last checkpoint."""

    def save() -> None:
        checkpoints.save(model.num_timesteps, capture(model, algorithm))

    spec = task.spec
    learn(model, spec.budget.steps, Seams(spec.checkpoint.every_steps, spec.seed, stop, meter.deadline, save))
    if stop.requested and model.num_timesteps < spec.budget.steps:
        save()
        message = (
            f"the pod was told to end at step {model.num_timesteps} of {spec.budget.steps}; the next attempt goes on"
        )
        raise Failed("Terminated", message, permanent=False)


def _export(task: TrainingTask, model: BaseAlgorithm, algorithm: Algorithm, store: Store) -> FileReference:
    """Write, compare, upload."""
    wrappers = task.environment.wrappers
    onnx = export.to_onnx(model, algorithm, task.interface, wrappers)
    observations = gather(task.environment, VERIFIED_OBSERVATIONS, task.spec.seed)
    export.verify(onnx, model, task.interface, observations, wrappers)
    files = {FILE: onnx}
    wrapped = any(wrapper.at == "Policy" for wrapper in wrappers)  # which the layers alone do not say
    if not wrapped and (layers := dense.to_dense(model, task.interface)):
        files[dense.FILE] = layers
    return artifacts.export(
        store,
        files,
        task.interface,
        task.spec.algorithm.name,
        export.OPSET,
        task.spec.algorithm.acting,
        task.environment.safety,
    )
