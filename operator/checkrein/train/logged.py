"""What the library says of its latest update: losses and the like, by its own names, and the gradient's norm."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch
from stable_baselines3.common.callbacks import BaseCallback

PREFIX = "train/"  # under which Stable-Baselines3 logs what its updates come to
SECONDS_BETWEEN_LOOKS = 0.1  # some algorithms update at every fourth step
SECONDS_BETWEEN_NORMS = 1.0


class Logged(BaseCallback):
    """Keeps the values of the latest update, for another thread to read.

    The library forgets them whenever it would print them; between an update and the next rollout they are there.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.values: Mapping[str, float] = {}
        self.gradient_norm: float | None = None
        self._clock = clock
        self._next_look = self._next_norm = 0.0

    def _on_rollout_start(self) -> None:
        if (now := self._clock()) < self._next_look:
            return
        known = self.logger.name_to_value
        found = {k.removeprefix(PREFIX): float(v) for k, v in known.items() if k.startswith(PREFIX)}
        if not found:
            return
        self.values, self._next_look = found, now + SECONDS_BETWEEN_LOOKS
        if now >= self._next_norm:
            self._next_norm = now + SECONDS_BETWEEN_NORMS
            self.gradient_norm = _norm(self.model.policy)

    def _on_step(self) -> bool:
        return True


def _norm(policy: torch.nn.Module) -> float | None:
    """Euclidean norm of the gradients that the last update left, after the library's clipping."""
    norms = [p.grad.norm() for p in policy.parameters() if p.grad is not None]
    return float(torch.stack(norms).norm()) if norms else None
