"""One training in a process of its own, for `training.py`: prints how long learning took, as JSON.

`ours` is the trainer that pods run, on the task in CHECKREIN_TASK; `bare` is Stable-Baselines3 alone on the same task,
as its documentation has it. The clock runs from the first step to the last; for `ours`, until checkpoints are stored.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from stable_baselines3.common.env_util import make_vec_env

from checkrein.api.tasks import TrainingTask
from checkrein.train import hyperparameters, trainer
from checkrein.train.algorithms import ALGORITHMS
from checkrein.train.model import ACTIVATIONS


def main() -> None:
    """`python -m tests.bench.training_run ours|bare`."""
    task = TrainingTask.model_validate_json(os.environ["CHECKREIN_TASK"])
    torch.set_num_threads(1)
    print(json.dumps({"ours": ours, "bare": bare}[sys.argv[1]](task)))


def ours(task: TrainingTask) -> dict[str, float]:
    """The whole trainer: progress, metrics, checkpoints, export; timed is what stands for the library's `learn`."""
    found: dict[str, float] = {}
    learning = trainer._learn

    def timed(*arguments: Any) -> None:
        found.update(measured(lambda: learning(*arguments)))

    trainer._learn = timed  # type: ignore[assignment]  # takes what it takes
    report = trainer.train(task)
    if report.failure or not report.checkpoint:
        sys.exit(f"the trainer failed: {report.failure}")
    return found


def bare(task: TrainingTask) -> dict[str, float]:
    """The library, with the same networks and numbers on the same copies of the environment; nothing else."""
    spec = task.spec.algorithm
    algorithm = ALGORITHMS[spec.name]
    # As ours: without gymnasium's checker, which would slow it down.
    copies = make_vec_env(
        task.environment.source.gymnasium.id,
        task.spec.environments,
        seed=task.spec.seed,
        env_kwargs={"disable_env_checker": True},
    )
    model = algorithm.library(
        "MlpPolicy",
        copies,
        seed=task.spec.seed,
        device=algorithm.device,
        policy_kwargs={"net_arch": spec.network.hidden, "activation_fn": ACTIVATIONS[spec.network.activation]},
        **hyperparameters.check(algorithm, spec.hyperparameters),
    )
    return measured(lambda: model.learn(task.spec.budget.steps))


def measured(work: Callable[[], Any]) -> dict[str, float]:
    """Seconds by the clock and of the processor, all threads together, and when it ended."""
    began, computed = time.monotonic(), time.process_time()
    work()
    return {
        "seconds": time.monotonic() - began,
        "processor": time.process_time() - computed,
        "ended": time.time(),
    }


if __name__ == "__main__":
    main()
