"""The tracker's end of the pipe: what came is held until the tracker has taken it, for as long as that takes."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Protocol

from checkrein.train.failures import describe

MOST_POINTS = 20_000  # that wait for a tracker which is away; the oldest are dropped
SECONDS_BETWEEN_LOOKS = 5.0
FIRST_PAUSE, LAST_PAUSE = 1.0, 60.0
END_SECONDS = 60.0  # for the last of it, where nobody ends the process before


@dataclass(frozen=True)
class Point:
    """What was known at one step."""

    step: int
    time: float
    """Unix time, in seconds."""
    values: dict[str, float]
    """By the names that Stable-Baselines3 logs them under."""


class Tracker(Protocol):
    """Whatever it raises means: not now. It is called again."""

    def log(self, points: Sequence[Point]) -> None:
        """Take these, all of them or none; the first call begins the run, or goes on with it."""

    def keep(self, *, last: bool) -> None:
        """See that what was taken outlives the pod; `last`: nothing follows."""

    def close(self, *, trained: bool) -> None:
        """End the run; where it is not `trained` to its end, a later attempt goes on with it."""


class Inbox:
    """The lines that the trainer writes, read as they come, so that its pipe is never full for long."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = lines
        self._changed = Condition()
        self._points: deque[Point] = deque(maxlen=MOST_POINTS)
        self.over = False
        self.trained = False
        Thread(target=self._read, daemon=True, name="inbox").start()

    def wait(self, seconds: float, *, heed_points: bool) -> list[Point]:
        """The points that wait, once there are any or the trainer has said its last, at most after `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: self.over or (heed_points and bool(self._points)), seconds)
            return list(self._points)

    def taken(self, points: Sequence[Point]) -> None:
        """They need not be held any more."""
        with self._changed:
            while points and self._points and self._points[0].time <= points[-1].time:
                self._points.popleft()

    def _read(self) -> None:
        for line in self._lines:
            said = json.loads(line)
            with self._changed:
                if "trained" in said:
                    self.trained = said["trained"]
                else:
                    self._points.append(Point(**said))
                self._changed.notify()
        with self._changed:
            self.over = True
            self._changed.notify()


def follow(tracker: Tracker, inbox: Inbox, tell: Callable[[str | None], None]) -> None:
    """Until the trainer has said its last and the tracker has it. `tell` hears what fails, and None once it does not.

    A failure is told once: the next one of a row may have other words, and is no news.
    """
    failing, pause, end = False, FIRST_PAUSE, float("inf")
    while time.monotonic() < end:
        points = inbox.wait(pause if failing else SECONDS_BETWEEN_LOOKS, heed_points=not failing)
        over = inbox.over
        if over:
            end = min(end, time.monotonic() + END_SECONDS)
            points = inbox.wait(0.0, heed_points=False)
        try:
            if points:
                tracker.log(points)
                inbox.taken(points)
            tracker.keep(last=over)
            if over:
                tracker.close(trained=inbox.trained)
        except Exception as error:  # noqa: BLE001 - whatever a library raises, training goes on
            if not failing:
                tell(describe(error))
            pause = min(pause * 2, LAST_PAUSE) if failing else FIRST_PAUSE
            failing = True
            if over:
                time.sleep(FIRST_PAUSE)  # nothing more comes that could be waited for
            continue
        if failing:
            tell(None)
        failing = False
        if over:
            return
