"""Leads, or waits to: renews one Lease, and lets nobody act whose time is over.

The fence is asked before each write, and bounds how long the write may take (`cluster.py`). What was sent before and
arrives late is refused by resourceVersion or falls on names that derive from the owner.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from checkrein.control import metrics
from checkrein.control.cluster import ApiError, Cluster, NotLeading
from checkrein.control.election import RENEW_SECONDS, WAIT_SECONDS, Election, claim, holder, release

log = logging.getLogger("checkrein")


class LostError(Exception):
    """Somebody else may lead by now: this process must end, and start anew."""


class Leader:
    """One candidate for one Lease. `cluster` must not be fenced by this very leader."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        name: str,
        identity: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._clock = clock
        self._election = Election(identity)
        metrics.LEADER.set(0)

    def fence(self) -> float:
        """Seconds for which this process may still act. Raises NotLeading."""
        left = self._election.left(self._clock())
        if left <= 0:
            raise NotLeading
        return left

    @property
    def leads(self) -> bool:
        """Whether this process may act."""
        return self._election.left(self._clock()) > 0

    async def acquire(self) -> None:
        """Returns once this process leads."""
        while True:
            if await self._try():
                break
            await asyncio.sleep(WAIT_SECONDS)
        metrics.LEADER.set(1)
        log.info("leading by lease %s/%s", self._namespace, self._name)

    async def keep(self) -> None:
        """Renews until that fails for too long, or somebody else has it. Raises LostError."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            if await self._try():
                continue
            if self._election.deposed or not self._election.leads(self._clock()):
                self._election.resign()
                metrics.LEADER.set(0)
                raise LostError(f"lease {self._namespace}/{self._name} could not be renewed")

    async def release(self) -> None:
        """Acts no more, and lets the next one lead at once. A failure costs that one the lease's time, no more."""
        held = self._election.leads(self._clock())
        self._election.resign()
        metrics.LEADER.set(0)
        if not held:
            return
        while True:
            try:
                lease = await self._cluster.get("Lease", self._namespace, self._name)
                if lease and holder(lease) == self._election.identity:
                    await self._cluster.replace(release(lease))
                return
            except ApiError as error:
                if error.status != 409:  # else a renewal was still under way
                    log.warning("the lease was not released: %s", error)
                    return

    async def _try(self) -> bool:
        """One look at the Lease, and one write where it may be taken. Whether it is ours now."""
        sent = self._clock()
        try:
            lease = await self._cluster.get("Lease", self._namespace, self._name)
            if not self._election.may_take(lease, self._clock()):
                return False
            sent = self._clock()
            wanted = claim(lease, self._namespace, self._name, self._election.identity, datetime.now(UTC))
            made = await (self._cluster.replace(wanted) if lease else self._cluster.make(wanted))
        except ApiError as error:
            if error.status != 409:  # another one was faster
                log.warning("lease %s/%s: %s", self._namespace, self._name, error)
            return False
        self._election.taken(made, sent, self._clock())
        return True
