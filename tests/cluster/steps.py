"""What is going on, for the person who waits: one line per step with the time since the start."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Of the first of our processes: those that it starts count from the same moment.
START = float(os.environ.setdefault("CHECKREIN_START", str(time.monotonic())))


class ClusterError(Exception):
    """A sentence for the person who runs the tests or the demo: what failed, and what to do."""


def say(text: str) -> None:
    """Prints one line, whole even where several threads print."""
    sys.stderr.write(f"[{time.monotonic() - START:6.1f} s] {text}\n")
    sys.stderr.flush()


@contextmanager
def step(name: str) -> Iterator[None]:
    """Announces a slow step and says how long it took."""
    begun = time.monotonic()
    say(f"{name} ...")
    yield
    say(f"{name}: done in {time.monotonic() - begun:.1f} s")


def wait_until(condition: Callable[[], bool], seconds: float, *, otherwise: Callable[[], ClusterError]) -> None:
    """Polls `condition` until it holds. Raises what `otherwise` returns after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise otherwise()
        time.sleep(0.1)
