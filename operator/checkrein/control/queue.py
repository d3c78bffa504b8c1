"""The work queue: each key at most once at a time, with deadlines and a backoff of its own.

As in client-go (util/workqueue): a key that is added while it is worked on is worked on once more afterwards.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
FIRST_DELAY = 0.5
LAST_DELAY = 60.0


class WorkQueue(Generic[K]):
    """Keys that are due, in the order in which they fell due."""

    def __init__(self, clock: Callable[[], float], rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._serial = 0
        self._working: set[K] = set()
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._due)

    def add(self, key: K, after: float = 0.0) -> None:
        """Work on the key in `after` seconds; an earlier date that it has already stands."""
        due = self._clock() + after
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        self._serial += 1
        heapq.heappush(self._heap, (due, self._serial, key))
        self._changed.set()

    def forget(self, key: K) -> None:
        """The object is gone: neither its date nor its failures matter any more."""
        self._due.pop(key, None)
        self._failures.pop(key, None)

    async def get(self) -> K:
        """The next key that is due; call `done` with it afterwards."""
        while True:
            key, wait = self._next()
            if key is not None:
                self._working.add(key)
                return key
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), wait)
            except TimeoutError:
                continue

    def _next(self) -> tuple[K | None, float | None]:
        """A key that is due now, or how long to wait (None: until something is added)."""
        now, held = self._clock(), []
        found: K | None = None
        while self._heap:
            due, _, key = self._heap[0]
            if self._due.get(key) != due:
                heapq.heappop(self._heap)  # superseded by an earlier date, or forgotten
            elif due > now:
                break
            elif key in self._working:
                held.append(heapq.heappop(self._heap))
            else:
                heapq.heappop(self._heap)
                del self._due[key]
                found = key
                break
        wait = self._heap[0][0] - now if self._heap else None  # held ones are announced by `done`
        for item in held:
            heapq.heappush(self._heap, item)
        return found, wait

    def done(self, key: K, *, failed: bool = False) -> float:
        """Work on the key is over. After a failure it comes again, later each time; returns that delay in seconds."""
        self._working.discard(key)
        self._changed.set()
        if not failed:
            self._failures.pop(key, None)
            return 0.0
        count = self._failures[key] = self._failures.get(key, 0) + 1
        # Jitter (AWS Architecture Blog, "Exponential Backoff and Jitter"): equal objects must not retry in step.
        delay: float = min(FIRST_DELAY * 2.0 ** min(count - 1, 32), LAST_DELAY) * self._rng.uniform(0.5, 1.0)
        self.add(key, delay)
        return delay
