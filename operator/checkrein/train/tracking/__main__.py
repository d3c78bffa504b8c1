"""The process of one tracker: `python -m checkrein.train.tracking NAME`, started by the trainer (see `relay`)."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence

from checkrein.api.tasks import TASK_VARIABLE, TrainingTask
from checkrein.train.tracking.follow import Inbox, Point, Tracker, follow

NICE = 5  # training goes first


class Late:
    """A tracker that is made at its first use: its library takes seconds to import, and may be missing."""

    def __init__(self, name: str, task: TrainingTask) -> None:
        self._name, self._task = name, task
        self._tracker: Tracker | None = None

    def log(self, points: Sequence[Point]) -> None:
        """See Tracker."""
        if self._tracker is None:
            module = importlib.import_module(f"checkrein.train.tracking.{self._name.lower()}")
            self._tracker = getattr(module, self._name)(self._task)
        assert self._tracker is not None
        self._tracker.log(points)

    def keep(self, *, last: bool) -> None:
        """See Tracker."""
        if self._tracker is not None:
            self._tracker.keep(last=last)

    def close(self, *, trained: bool) -> None:
        """See Tracker."""
        if self._tracker is not None:
            self._tracker.close(trained=trained)


def main(name: str) -> None:
    """Take points from standard input, say on standard output what fails."""
    said = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints belongs into the log
    os.nice(NICE)
    inbox = Inbox(sys.stdin.buffer)
    task = TrainingTask.model_validate_json(os.environ[TASK_VARIABLE])
    follow(Late(name, task), inbox, lambda failure: print(json.dumps({"failure": failure}), file=said))


if __name__ == "__main__":
    main(sys.argv[1])
