"""MLflow: a run on a tracking server, found again by the TrainingJob's uid."""

from __future__ import annotations

import os
from collections.abc import Sequence

os.environ |= {  # before the library is imported; a server that hangs is given up soon, and asked again later
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.tracking import MlflowClient

from checkrein.api.tasks import TrainingTask
from checkrein.train.tracking import run
from checkrein.train.tracking.follow import Point

MOST_METRICS = 1000  # of one request (MLflow's REST API, runs/log-batch)
UID = "checkrein.uid"


class MLflow:
    """One run, whichever attempt is at it."""

    def __init__(self, task: TrainingTask) -> None:
        assert task.spec.tracking is not None
        assert task.spec.tracking.mlflow is not None
        self._run = run.of(task)
        self._experiment = task.spec.tracking.mlflow.experiment or task.job.namespace
        self._client = MlflowClient(tracking_uri=task.spec.tracking.mlflow.uri)
        self._id: str | None = None

    def log(self, points: Sequence[Point]) -> None:
        """See Tracker. What is sent twice is kept once: the server compares key, step, time and value."""
        known = self._id or self._open()
        metrics = [Metric(name, value, int(p.time * 1000), p.step) for p in points for name, value in p.values.items()]
        for first in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(known, metrics=metrics[first : first + MOST_METRICS])

    def keep(self, *, last: bool) -> None:
        """See Tracker: the server keeps it."""

    def close(self, *, trained: bool) -> None:
        """See Tracker."""
        if self._id:
            self._client.set_terminated(self._id, "FINISHED" if trained else "KILLED")

    def _open(self) -> str:
        experiment = self._experiment_id()
        found = self._client.search_runs([experiment], f"tags.`{UID}` = '{self._run.uid}'", max_results=1)
        if found:
            known: str = found[0].info.run_id
            self._client.update_run(known, status="RUNNING")
        else:
            made = self._client.create_run(experiment, tags={UID: self._run.uid}, run_name=self._run.name)
            known = made.info.run_id
            # Once: MLflow refuses to change any, and they are not to be changed.
            self._client.log_batch(known, params=[Param(key, value) for key, value in self._run.settings.items()])
        self._client.log_batch(known, tags=[RunTag(key, value) for key, value in self._run.origin.items()])
        self._id = known
        return known

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self._experiment)
        if found:
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(self._experiment))
        except MlflowException as error:  # another job of the namespace was first
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
            return self._experiment_id()
