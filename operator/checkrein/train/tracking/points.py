"""What trackers are told, and when: by the names that Stable-Baselines3 itself logs under."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from checkrein.train.logged import PREFIX, Logged
from checkrein.train.progress import Meter
from checkrein.train.tracking.relay import Relay

SECONDS_BETWEEN_POINTS = 0.5
SHARE_BETWEEN_POINTS = 1000  # a point once the steps have grown by a thousandth: enough for any plot, however long


class Points(BaseCallback):
    """Tells each tracker at the start of a rollout, when what the update before came to is known."""

    def __init__(
        self, relays: Sequence[Relay], meter: Meter, logged: Logged, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._relays, self._meter, self._known, self._clock = relays, meter, logged, clock
        self._next_step, self._next_time = 0, 0.0

    def _on_rollout_start(self) -> None:
        step, now = self.model.num_timesteps, self._clock()
        if self._relays and step >= self._next_step and now >= self._next_time:
            self._next_step, self._next_time = step + step // SHARE_BETWEEN_POINTS, now + SECONDS_BETWEEN_POINTS
            self._tell()

    def _on_training_end(self) -> None:
        self._tell()

    def _on_step(self) -> bool:
        return True

    def _tell(self) -> None:
        values = point(self._meter, self._known, self.model.ep_info_buffer or ())
        if values:
            said = {"step": self.model.num_timesteps, "time": time.time(), "values": values}
            for relay in self._relays:
                relay.tell(said)


def point(meter: Meter, logged: Logged, episodes: Sequence[dict[str, Any]] | Any) -> dict[str, float]:
    """What is known now, of numbers that are numbers; empty before the first episode and the first update."""
    values = {f"{PREFIX}{name}": value for name, value in logged.values.items()}
    if logged.gradient_norm is not None:
        values[f"{PREFIX}gradient_norm"] = logged.gradient_norm
    if episodes:
        values["rollout/ep_rew_mean"] = sum(float(e["r"]) for e in episodes) / len(episodes)
        values["rollout/ep_len_mean"] = sum(float(e["l"]) for e in episodes) / len(episodes)
    if values:
        values["time/fps"] = float(meter.read().steps_per_second)
    return {name: value for name, value in values.items() if math.isfinite(value)}
