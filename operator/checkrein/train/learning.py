"""The learning loop: the library's own, with seams, ends and a watch for divergence."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from checkrein.train.failures import Failed, describe
from checkrein.train.model import is_finite, start_over

SECONDS_BETWEEN_WATCHES = 1.0


class Stop:
    """Set by a signal handler, read at every step."""

    def __init__(self) -> None:
        self.requested = False

    def request(self, *_: object) -> None:
        """Fits signal.signal."""
        self.requested = True


class Seams(BaseCallback):
    """A checkpoint at the first rollout in each `every` steps; the end at the deadline or on request."""

    def __init__(self, every: int, seed: int, stop: Stop, deadline: float | None, save: Callable[[], None]) -> None:
        super().__init__()
        self._every, self._seed, self._save = every, seed, save
        self._stop = stop
        self._deadline = float("inf") if deadline is None else deadline
        self._interval: int | None = None
        self._next_watch = 0.0

    def _on_rollout_start(self) -> None:
        interval = self.model.num_timesteps // self._every
        if interval != self._interval:
            require_finite(self.model)
            if self._interval is not None:
                self._save()
            self._interval = interval
            start_over(self.model, self._seed)
        elif time.monotonic() > self._next_watch:
            require_finite(self.model)
            self._next_watch = time.monotonic() + SECONDS_BETWEEN_WATCHES

    def _on_step(self) -> bool:
        return not self._stop.requested and time.monotonic() < self._deadline


def learn(model: BaseAlgorithm, total: int, seams: Seams) -> None:
    """From where the model stands to `total` steps, or until `seams` ends it. Raises Failed."""
    # The first rollout's start resets the environments; the library, which sees this, does not do so once more.
    model._last_obs = np.empty(0)
    try:
        model.learn(total - model.num_timesteps, callback=seams, reset_num_timesteps=False)
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
