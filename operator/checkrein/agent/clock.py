"""The time of day though a machine's clock is set: one that never goes back, and ends that stay."""

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
        ahead = self._wall() - steady
        if ahead > self._ahead:
            self._ahead = ahead
        return steady + self._ahead


class End:
    """Whether the end of something is over: of one thing, to which others follow.

    It is when the wall clock says so, or the monotonic one by what was left when first asked about this end, and then
    for good: neither a clock that is set back prolongs what a person limited, nor one that leapt ahead and came back
    lets it begin again, or counts against what is begun after.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._moment = self._due = 0.0

    def over(self, moment: float) -> bool:
        """`moment`, in seconds since the epoch, has come."""
        left, steady = moment - self._wall(), self._monotonic()
        if moment != self._moment:
            self._moment, self._due = moment, steady + left
        if left <= 0:
            self._due = min(self._due, steady)
        return steady >= self._due
