"""The learning loop: the library's own, with seams, ends and a watch for divergence."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from checkrein.train.failures import Failed, describe
from checkrein.train.model import is_finite, start_over

SECONDS_BETWEEN_WATCHES = 1.0


class Stop:
    """Set by a signal handler, read at every step. `grace`: seconds that are left from then on."""

    def __init__(self, grace: float = 0.0) -> None:
        self.grace = grace
        self.deadline: float | None = None

    @property
    def requested(self) -> bool:
        """Whether somebody asked."""
        return self.deadline is not None

    def request(self, *_: object) -> None:
        """Fits signal.signal."""
        if self.deadline is None:
            self.deadline = time.monotonic() + self.grace


class Seams(BaseCallback):
    """A checkpoint at the first rollout in each `every` steps; the end at the deadline or on request.

    A request is met at the next checkpoint, where that comes within the grace, else at once: the run that goes on there
    is the one that was never interrupted, and a checkpoint anywhere else would make it another one.
    """

    def __init__(self, every: int, seed: int, stop: Stop, deadline: float | None, save: Callable[[], None]) -> None:
        super().__init__()
        self._every, self._seed, self._save = every, seed, save
        self._stop = stop
        self._deadline = float("inf") if deadline is None else deadline
        self._interval: int | None = None
        self._next_watch = 0.0
        self._began = 0.0, 0  # time and step
        self.stopped = False

    def _on_training_start(self) -> None:
        self._began = time.monotonic(), self.model.num_timesteps

    def _on_rollout_start(self) -> None:
        interval = self.model.num_timesteps // self._every
        if interval != self._interval:
            require_finite(self.model)
            if self._interval is not None:
                self._save()
                self.stopped = self._stop.requested
            self._interval = interval
            start_over(self.model, self._seed)
        elif time.monotonic() > self._next_watch:
            require_finite(self.model)
            self._next_watch = time.monotonic() + SECONDS_BETWEEN_WATCHES

    def _on_step(self) -> bool:
        if self._stop.deadline is not None and not self.stopped:
            self.stopped = not self._in_time(self._stop.deadline)
        return not self.stopped and time.monotonic() < self._deadline

    def _in_time(self, deadline: float) -> bool:
        """Whether the next checkpoint is near enough to be reached, at the pace so far."""
        now, (start, first), steps = time.monotonic(), self._began, self.model.num_timesteps
        left = ((self._interval or 0) + 1) * self._every - steps
        return now < deadline and (now - start) / (steps - first) * left < deadline - now


class Watching(CallbackList):
    """Callbacks that read none of the library's local variables: copying them at every step would cost 2 % of DQN."""

    def update_locals(self, locals_: dict[str, Any]) -> None:
        """Nothing."""


def learn(model: BaseAlgorithm, total: int, seams: Seams, *watching: BaseCallback) -> None:
    """From where the model stands to `total` steps, or until `seams` ends it. Raises Failed."""
    # The first rollout's start resets the environments; the library, which sees this, does not do so once more.
    model._last_obs = np.empty(0)
    try:
        model.learn(total - model.num_timesteps, callback=Watching([seams, *watching]), reset_num_timesteps=False)
    except Failed:
        raise
    except Exception as error:
        require_finite(model)
        message = f"step {model.num_timesteps}: {describe(error)}; see the pod's log"
        raise Failed("TrainingFailed", message, permanent=False) from error
    require_finite(model)


def require_finite(model: BaseAlgorithm) -> None:
    """Raises Failed (Diverged, permanent) where a parameter is NaN or infinite."""
    if not is_finite(model):
        raise Failed(
            "Diverged",
            f"a network parameter became NaN or infinite before step {model.num_timesteps}; lower "
            "spec.algorithm.hyperparameters.learning_rate, set spec.algorithm.normalize, or bound the rewards",
            permanent=True,
        )
