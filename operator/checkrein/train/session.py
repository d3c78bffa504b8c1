"""What the three entry points share: the task, the store, the report, the exit code."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import TypeVar

from checkrein.api.meta import Model, bounded
from checkrein.api.tasks import (
    CREDENTIALS_FILE,
    TASK_VARIABLE,
    EvaluationReport,
    Failure,
    ProbeReport,
    StoreLocation,
    TrainingReport,
)
from checkrein.store.client import Store
from checkrein.store.errors import StoreError
from checkrein.store.observing import Observer, nobody
from checkrein.train import report
from checkrein.train.failures import Failed, describe

CREDENTIALS_VARIABLE = "CHECKREIN_CREDENTIALS"
TaskT = TypeVar("TaskT", bound=Model)
Report = ProbeReport | TrainingReport | EvaluationReport

log = logging.getLogger(__name__)


def run(task: type[TaskT], work: Callable[[TaskT], Report], failed: Callable[[Failure], Report]) -> int:
    """Do the work, write its report, return the exit code: 0, 1 (another attempt may succeed) or 2 (it may not).

    `failed` makes a report of a failure alone.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    signal.signal(signal.SIGTERM, _terminate)  # a container's first process would not heed it otherwise
    outcome = _attempt(lambda: work(task.model_validate_json(os.environ[TASK_VARIABLE])), failed)
    report.write(outcome)
    if outcome.failure is None:
        return 0
    log.error("%s: %s", outcome.failure.reason, outcome.failure.message)
    return 2 if outcome.failure.permanent else 1


def open_store(location: StoreLocation, observer: Observer = nobody) -> Store:
    """The store by the mounted credentials, which are read again whenever they are renewed."""
    return Store.from_file(location, os.environ.get(CREDENTIALS_VARIABLE, CREDENTIALS_FILE), observer)


def _terminate(*_: object) -> None:
    raise Failed("Terminated", "the pod was told to end before its work was done; another attempt may", permanent=False)


def _attempt(work: Callable[[], Report], failed: Callable[[Failure], Report]) -> Report:
    try:
        return work()
    except Failed as error:
        return failed(error.failure)
    except StoreError as error:
        return failed(Failure(reason=error.reason, message=bounded(f"store: {error}")))
    except Exception as error:
        log.exception("unexpected")
        return failed(Failure(reason="InternalError", message=bounded(describe(error))))
