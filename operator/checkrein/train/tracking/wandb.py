"""Weights & Biases: a run whose id is the TrainingJob's uid, sent while it trains or kept for `wandb sync`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ |= {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}  # before the library is imported

import wandb

from checkrein.api.tasks import TrainingTask
from checkrein.train import session
from checkrein.train.tracking import run
from checkrein.train.tracking.follow import Point
from checkrein.train.tracking.mirror import Mirror

INIT_SECONDS = 20.0


class WandB:
    """One run, whichever attempt is at it."""

    def __init__(self, task: TrainingTask) -> None:
        assert task.spec.tracking is not None
        assert task.spec.tracking.wandb is not None
        self._spec = task.spec.tracking.wandb
        self._namespace, self._run = task.job.namespace, run.of(task)
        self._folder = Path(tempfile.mkdtemp(prefix="wandb-"))
        offline = self._spec.mode == "Offline"
        self._mirror = Mirror(session.open_store(task.store), "wandb", self._folder / "wandb") if offline else None
        self._opened: Any = None

    def log(self, points: Sequence[Point]) -> None:
        """See Tracker. Steps that an earlier attempt told already are passed over by the library."""
        if self._opened is None:
            self._open()
        for point in points:
            self._opened.log({**point.values, "_timestamp": point.time}, step=point.step)

    def keep(self, *, last: bool) -> None:
        """See Tracker."""
        if self._mirror is not None and not last:
            self._mirror.push(now=False)

    def close(self, *, trained: bool) -> None:
        """See Tracker."""
        if self._opened is not None:
            self._opened.finish(exit_code=0 if trained else 1)
        if self._mirror is not None:  # the library writes the last of it when it is finished
            self._mirror.push(now=True)

    def _open(self) -> None:
        if self._mirror is not None:
            self._mirror.fetch()
        self._opened = wandb.init(
            id=self._run.uid,
            name=self._run.name,
            project=self._spec.project or self._namespace,
            entity=self._spec.entity or None,
            config=self._run.origin | self._run.settings,
            allow_val_change=True,
            resume="allow",
            mode="offline" if self._spec.mode == "Offline" else "online",
            dir=str(self._folder),
            settings=wandb.Settings(
                base_url=self._spec.base_url or "https://api.wandb.ai",
                console="off",
                disable_code=True,
                disable_git=True,
                init_timeout=INIT_SECONDS,
                x_disable_machine_info=True,
                x_disable_stats=True,
            ),
        )
