"""What a run is called, and what leads from it back to its TrainingJob."""

from __future__ import annotations

from dataclasses import dataclass

from checkrein.api.tasks import TrainingTask


@dataclass(frozen=True)
class Run:
    """One TrainingJob, whichever attempt is at it: a later one goes on with the same run."""

    name: str
    """NAMESPACE/NAME."""
    uid: str
    origin: dict[str, str]
    """The object and the attempt, by names that begin with `checkrein.`."""
    settings: dict[str, str]
    """What was asked for: algorithm, environment, seed, steps, hyperparameters."""


def of(task: TrainingTask) -> Run:
    """The run of a task."""
    job, spec = task.job, task.spec
    origin = {"cluster": job.cluster, "namespace": job.namespace, "name": job.name, "uid": job.uid}
    settings = {
        "algorithm": spec.algorithm.name,
        "environment": spec.environment_ref.name,
        "seed": str(spec.seed),
        "steps": str(spec.budget.steps),
    }
    hyperparameters = {f"hyperparameters.{name}": str(value) for name, value in spec.algorithm.hyperparameters.items()}
    return Run(
        name=f"{job.namespace}/{job.name}",
        uid=job.uid,
        origin={f"checkrein.{key}": value for key, value in (origin | {"attempt": str(task.attempt)}).items()},
        settings=settings | hyperparameters,
    )
