"""How much may be decided: token buckets, one for the deployment and one for each client.

Each replica grants its share, the rate and the burst divided by the number of replicas, and knows nothing of the
others: a share that others leave unused is not lent, and a client that stays with one replica gets that replica's
share of what it may have. Every replica may grant one decision at once, however small its share of the burst.

The arithmetic is in whole numbers: a bucket counts in parts of a decision, so that each nanosecond gives back exactly
`rate` parts. Nothing is lost by rounding, however often one asks.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from checkrein.api.deployment import Limits

NANOSECONDS = 1_000_000_000
CLIENTS = 4096
"""Clients whose spending is known one by one."""


class Bucket:
    """What was spent of one allowance. `now` is in nanoseconds; going back it gives nothing and takes nothing."""

    __slots__ = ("_capacity", "_cost", "_last", "_rate", "_spent")

    def __init__(self, rate: int, burst: int, replicas: int, now: int) -> None:
        self._spent, self._last, self._cost = 0, now, 1
        self.configure(rate, burst, replicas)

    def configure(self, rate: int, burst: int, replicas: int) -> None:
        """This replica's share of `rate` decisions a second and `burst` at once. Decisions spent stay spent."""
        cost = NANOSECONDS * replicas
        self._spent = -(-self._spent * cost // self._cost)
        self._rate, self._cost = rate, cost
        self._capacity = max(burst * NANOSECONDS, cost)
        self._spent = min(self._spent, self._capacity)

    def wait(self, now: int) -> int:
        """Nanoseconds until one more decision is left; 0: there is one."""
        elapsed = now - self._last
        self._last = now
        if elapsed > 0 and self._spent:
            left = self._spent - elapsed * self._rate
            self._spent = left if left > 0 else 0
        missing = self._spent + self._cost - self._capacity
        return -(-missing // self._rate) if missing > 0 else 0

    def take(self) -> None:
        """Spend one decision, after `wait` has said that one is left."""
        self._spent += self._cost

    def full(self, now: int) -> bool:
        """Whether nothing is spent any more."""
        self.wait(now)
        return self._spent == 0

    def copy(self) -> Bucket:
        """Another one that has spent as much."""
        other = object.__new__(Bucket)
        for name in self.__slots__:
            setattr(other, name, getattr(self, name))
        return other


class Limiter:
    """Says who may have a decision now. `clock` gives seconds and should not jump; `clients` bounds the memory."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, clients: int = CLIENTS) -> None:
        self._clock = clock
        self._size = clients
        self._configured: tuple[Limits, int] | None = None
        self._all: Bucket | None = None
        self._clients: OrderedDict[str, Bucket] = OrderedDict()
        self._others: Bucket | None = None

    def configure(self, limits: Limits, replicas: int) -> None:
        """From now on these limits, shared by so many replicas. A change gives nobody back what was spent."""
        if (limits, replicas) == self._configured:
            return
        self._configured = (limits, replicas)
        share, now = max(1, replicas), self._now()
        self._all = _allowance(self._all, limits.decisions_per_second, limits.burst, share, now)
        each = limits.per_client
        rate, burst = (each.decisions_per_second, each.burst) if each else (None, None)
        self._others = _allowance(self._others, rate, burst, share, now)
        if each is None:
            self._clients.clear()
        for bucket in self._clients.values():
            _allowance(bucket, rate, burst, share, now)

    def admit(self, caller: str) -> float | None:
        """None: a decision is granted. Else the seconds after which to try again; nothing was spent."""
        if self._all is None and self._others is None:
            return None
        now = self._now()
        own, shared = self._client(caller, now), self._all
        wait = own.wait(now) if own else 0
        if shared:
            wait = max(wait, shared.wait(now))
        if wait:
            return wait / NANOSECONDS
        if own:
            own.take()
        if shared:
            shared.take()
        return None

    def _client(self, caller: str, now: int) -> Bucket | None:
        """The caller's bucket. One is forgotten only when nothing is spent of it; till then newcomers share one."""
        if self._others is None:
            return None
        if (bucket := self._clients.get(caller)) is not None:
            self._clients.move_to_end(caller)
            return bucket
        if len(self._clients) >= self._size:
            oldest = next(iter(self._clients))
            if not self._clients[oldest].full(now):
                return self._others
            del self._clients[oldest]
        self._others.wait(now)
        bucket = self._clients[caller] = self._others.copy()  # the newcomer may be one of those who have shared it
        return bucket

    def _now(self) -> int:
        return int(self._clock() * NANOSECONDS)


def _allowance(bucket: Bucket | None, rate: int | None, burst: int | None, replicas: int, now: int) -> Bucket | None:
    """The bucket by another rule, a new one where there was none, None where there is no limit."""
    if rate is None:
        return None
    if bucket is None:
        return Bucket(rate, burst or rate, replicas, now)
    bucket.wait(now)
    bucket.configure(rate, burst or rate, replicas)
    return bucket
