"""The work queue: each key at most once at a time, with a date and a backoff of its own, in fair turns once it is due.

As in client-go (util/workqueue): a key that is added while it is worked on is worked on once more afterwards. Who is
next of those that are due is decided as by the API server's priority and fairness, in two steps. Each class gets twice
the turns of the class below (stride scheduling: Waldspurger and Weihl, 1995), so none starves; within a class the
tenants take turns, and a tenant's keys come in the order in which they fell due.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)
FIRST_DELAY = 0.5
LAST_DELAY = 60.0


class Place(NamedTuple):
    """Where a key stands in line: its class (0 is the first) and its tenant."""

    rank: int
    tenant: str


def one_line(_key: Hashable) -> Place:
    """No classes and no tenants."""
    return Place(0, "")


@dataclass
class _Class(Generic[K]):
    """The keys of one class that are due: tenants in the order of their turns, each one's keys oldest first."""

    turn: float = 0.0  # the class with the least is next
    tenants: OrderedDict[str, OrderedDict[K, float]] = field(default_factory=OrderedDict)


class WorkQueue(Generic[K]):
    """Keys that are due, in fair turns. `most`: keys of one tenant that may be worked on at once (None: any number).

    `place` says where a key stands in line; `picked` is told each key with the seconds since it fell due.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        rng: random.Random,
        place: Callable[[K], Place] = one_line,
        most: int | None = None,
        picked: Callable[[K, float], None] = lambda _key, _seconds: None,
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._place = place
        self._most = most
        self._picked = picked
        self._dates: dict[K, float] = {}  # not due when last looked
        self._heap: list[tuple[float, int, K]] = []
        self._serial = 0
        self._due: dict[K, float] = {}  # due, and in its class or worked on
        self._classes: dict[int, _Class[K]] = {}
        self._turn = 0.0
        self._working: set[K] = set()
        self._busy: Counter[str] = Counter()
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._dates) + len(self._due)

    @property
    def overdue(self) -> int:
        """How many keys wait for their turn, or for the end of the work on them."""
        return len(self._due)

    def add(self, key: K, after: float = 0.0) -> None:
        """Work on the key in `after` seconds; an earlier date that it has already stands."""
        date = self._clock() + after
        if key in self._due or self._dates.get(key, date + 1) <= date:
            return
        self._dates[key] = date
        self._serial += 1
        heapq.heappush(self._heap, (date, self._serial, key))
        self._changed.set()

    def forget(self, key: K) -> None:
        """The object is gone: neither its date nor its failures matter any more."""
        self._dates.pop(key, None)
        self._failures.pop(key, None)
        if self._due.pop(key, None) is not None and key not in self._working:
            rank, tenant = self._place(key)
            line = self._classes[rank].tenants[tenant]
            del line[key]
            if not line:
                del self._classes[rank].tenants[tenant]

    async def get(self) -> K:
        """The next key whose turn it is; call `done` with it afterwards."""
        while True:
            self._fall_due()
            if key := self._next():
                return key[0]
            self._changed.clear()
            wait = max(self._heap[0][0] - self._clock(), 0.0) if self._heap else None
            try:
                await asyncio.wait_for(self._changed.wait(), wait)
            except TimeoutError:
                continue

    def _fall_due(self) -> None:
        """Those whose date has come stand in line; one that is worked on does when that is over."""
        now = self._clock()
        while self._heap:
            date, _, key = self._heap[0]
            if self._dates.get(key) == date:
                if date > now:
                    return
                del self._dates[key]
                self._due[key] = date
                if key not in self._working:
                    self._line_up(key, date)
            heapq.heappop(self._heap)  # else superseded by an earlier date, or forgotten

    def _line_up(self, key: K, date: float) -> None:
        rank, tenant = self._place(key)
        line = self._classes.setdefault(rank, _Class())
        if not line.tenants:  # time without work earns nothing
            line.turn = max(line.turn, self._turn)
        line.tenants.setdefault(tenant, OrderedDict())[key] = date

    def _next(self) -> tuple[K] | None:
        """The key whose turn it is, if any may be worked on."""
        for rank, line in sorted(self._classes.items(), key=lambda item: (item[1].turn, item[0])):
            free = (t for t in line.tenants if self._most is None or self._busy[t] < self._most)
            if (tenant := next(free, None)) is None:
                continue
            key, date = line.tenants[tenant].popitem(last=False)
            line.tenants.move_to_end(tenant)
            if not line.tenants[tenant]:
                del line.tenants[tenant]
            self._turn = line.turn
            line.turn += 2.0**rank
            del self._due[key]
            self._working.add(key)
            self._busy[tenant] += 1
            self._picked(key, self._clock() - date)
            return (key,)
        return None

    def done(self, key: K, *, failed: bool = False) -> float:
        """Work on the key is over. After a failure it comes again, later each time; returns that delay in seconds."""
        self._working.discard(key)
        tenant = self._place(key).tenant
        self._busy[tenant] -= 1
        if not self._busy[tenant]:
            del self._busy[tenant]
        if key in self._due:
            self._line_up(key, self._due[key])
        self._changed.set()
        if not failed:
            self._failures.pop(key, None)
            return 0.0
        count = self._failures[key] = self._failures.get(key, 0) + 1
        # Jitter (AWS Architecture Blog, "Exponential Backoff and Jitter"): equal objects must not retry in step.
        delay: float = min(FIRST_DELAY * 2.0 ** min(count - 1, 32), LAST_DELAY) * self._rng.uniform(0.5, 1.0)
        self.add(key, delay)
        return delay
