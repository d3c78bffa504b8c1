"""The time of day that never goes back: an override that has ended must not begin again because a clock was set."""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """Seconds since the epoch. Follows the wall clock forwards, and the monotonic one where that was set back."""

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._ahead = wall() - monotonic()

    def __call__(self) -> float:
        """Now."""
        steady = self._monotonic()
        self._ahead = max(self._ahead, self._wall() - steady)
        return steady + self._ahead
