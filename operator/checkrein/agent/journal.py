"""The decision log's near end: records go to a file on the replica's own disk, chained, and from there to the store.

The event loop only hands records over. A writer thread encodes and chains them and writes them within milliseconds (a
killed process loses no more), syncs them together as soon as somebody waits for that, or else ten times a second, and
seals a segment every few seconds for the shipper. No failure reaches a decision: what cannot be written waits in
memory, and what finds no room there is counted and leaves a gap record.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from checkrein.agent.backoff import delay
from checkrein.agent.logstream import Identity, LogStream, Pace, utc
from checkrein.agent.shipper import Shipper
from checkrein.api.meta import bounded
from checkrein.store.client import Store
from checkrein.store.decisions.records import DecisionRecord, GapRecord, Record

__all__ = ["Identity", "Journal", "Pace", "utc"]

log = logging.getLogger(__name__)

NICE = 5  # a decision that comes while records are written goes first; an explored one still waits for its record
BATCH = 64  # records between two system calls: for so long the interpreter may be ours
PACE = Pace()
BATCHES = 16  # between two syncs
RECORD_WEIGHT = 1024
ELEMENT_WEIGHT = 32


@dataclass(frozen=True)
class _Waiter:
    sequence: int
    future: asyncio.Future[bool]


class Journal:
    """Append-only. `append` and `durable` belong to one event loop; threads do the rest once `start` was called."""

    def __init__(
        self,
        folder: Path,
        identity: Identity,
        store: Store | None,
        *,
        pace: Pace = PACE,
        now: Callable[[], str] = utc,
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._pace = pace
        self._now = now
        self._rng = random.Random()  # noqa: S311 - jitter
        self._shipper = Shipper(store, now, anchor_seconds=pace.anchor, rng=self._rng)
        # The event loop's side.
        self._next = 2  # record 1 says that the stream is opened
        self._pending: deque[tuple[Record, int]] = deque()
        self._weight_in = self._weight_out = 0  # the second is the writer's
        self._losing = 0
        self._losing_since = ""
        self.lost = 0
        # The writer's side.
        self._wake, self._urgent, self._stop = threading.Event(), threading.Event(), threading.Event()
        self._waiters: deque[_Waiter] = deque()
        self._stream: LogStream | None = None
        self._durable = 0
        self._give_up: float | None = None
        self.reason = ""
        self.stream = ""  # its name, once it is open
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)

    @property
    def healthy(self) -> bool:
        """False while nothing can be written; `reason` says why."""
        return not self.reason

    @property
    def position(self) -> int:
        """Number of the last record."""
        return self._next - 1

    @property
    def waiting_bytes(self) -> int:
        """Sealed on the disk, and not in the store yet."""
        return self._shipper.waiting_bytes

    @property
    def store_reason(self) -> str:
        """Why the store gets nothing, while that is so: decisions and durability do not suffer."""
        return self._shipper.reason

    def start(self) -> None:
        """Begin to write. What was appended before is written, too."""
        self._thread.start()
        self._shipper.start()

    def append(self, record: Record) -> int:
        """Hand over one record. Its number, for `durable`; 0 where it could not be kept. Never blocks, never raises."""
        weight = RECORD_WEIGHT
        if type(record) is DecisionRecord and record.observation is not None:
            weight += _weight(record.observation)
        if self._stop.is_set() or not self._room(weight):
            return self._lose()
        if self._losing:
            self._mark_gap()
        sequence = self._next
        self._next = sequence + 1
        self._weight_in += weight
        self._pending.append((record, weight))
        if not self._wake.is_set():
            self._wake.set()
        return sequence

    async def durable(self, sequence: int, timeout: float) -> bool:  # noqa: ASYNC109 - the caller's fallback is here
        """Whether the record is on the disk, at the latest after so many seconds. At once False while unhealthy."""
        if sequence <= self._durable:
            return sequence > 0
        if not self.healthy:
            return False
        waiter = _Waiter(sequence, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self._urgent.set()
        self._wake.set()
        done, _ = await asyncio.wait([waiter.future], timeout=timeout)
        return bool(done) and waiter.future.result()

    def lag(self) -> tuple[int, int]:
        """Records that are not durable yet, and records that are not in the store yet."""
        last = self._next - 1
        return max(0, last - max(self._durable, 1)), max(0, last - max(self._shipper.stored, 1))

    async def close(self, timeout: float = 20.0) -> bool:  # noqa: ASYNC109 - the kubelet's patience, handed on
        """Write, seal and store everything, and say that the stream has ended. Whether all of that was done in time."""
        until = time.monotonic() + timeout
        if self._losing:
            self._mark_gap()
        self._give_up = time.monotonic() + timeout / 2
        self._stop.set()
        self._urgent.set()
        self._wake.set()
        return await asyncio.to_thread(self._finish, until)

    def _finish(self, until: float) -> bool:
        if self._thread.is_alive():
            self._thread.join(max(0.0, until - time.monotonic()))
        stored = self._shipper.finish(max(0.0, until - time.monotonic()))
        ended = self._finished()
        if ended and self._stream:
            self._stream.release()
        return stored and ended

    def _room(self, weight: int) -> bool:
        """After a loss there is room only once half of it is free: one gap, not one for each record."""
        share = 2 if self._losing else 1
        held = self._weight_in - self._weight_out
        return (
            len(self._pending) * share < self._pace.buffer_records
            and (held + weight) * share <= self._pace.buffer_bytes
        )

    def _lose(self) -> int:
        if not self._losing:
            self._losing_since = self._now()
            log.error("decision records are being lost: %s", self.reason or "they come faster than they can be written")
        self._losing += 1
        self.lost += 1
        return 0

    def _mark_gap(self) -> None:
        reason = self.reason or "records came faster than they could be written"
        gap = GapRecord(timestamp=self._now(), lost=self._losing, since=self._losing_since, reason=reason)
        self._losing = 0
        self._next += 1
        self._weight_in += RECORD_WEIGHT
        self._pending.append((gap, RECORD_WEIGHT))

    # From here on: the writer's thread.

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        failures = 0
        while not self._finished():
            try:
                self._round()
            except Exception as error:  # noqa: BLE001 - whatever it is: a writer that ends would be silence
                failures += 1
                self._failed(error, failures)
                if self._given_up():
                    log.error("the decision log could not be written to its end: %s", self.reason)
                    return
                self._rest(delay(failures, self._rng, limit=5.0))
                continue
            if failures:
                log.info("the decision log is being written again")
            failures, self.reason = 0, ""
            self._await_work()

    def _finished(self) -> bool:
        return self._stream is not None and self._stream.ended

    def _given_up(self) -> bool:
        return self._give_up is not None and time.monotonic() > self._give_up

    def _rest(self, seconds: float) -> None:
        if self._stop.is_set():
            time.sleep(min(seconds, 0.1))
        else:
            self._stop.wait(seconds)

    def _failed(self, error: Exception, failures: int) -> None:
        what = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        self.reason = bounded(f"{self._folder} cannot be written: {what}", 300)
        if failures == 1:
            log.error("the decision log is not durable: %s", self.reason)
        if not isinstance(error, OSError):
            log.error("a fault of the decision log's writer", exc_info=error)
        self._answer(self._waiters_up_to(None), False)

    def _await_work(self) -> None:
        if not self._pending and not self._stop.is_set():
            self._wake.wait(self._stream.due_in() if self._stream else None)
        self._wake.clear()
        if len(self._pending) < BATCH and not self._stop.is_set():
            self._urgent.wait(self._pace.linger)
        self._urgent.clear()

    def _round(self) -> None:
        if self._stream is None:
            self._stream = LogStream.open(self._folder, self._identity, self._shipper, self._pace, self._now)
            self.stream = self._stream.name
        stream = self._stream
        for _ in range(BATCHES):
            full = self._full(stream)
            if not full:
                self._take(stream)
            stream.write()
            if full or not self._pending:
                break
        if self._waiters or stream.sync_due():
            stream.sync()
            self._settle(stream)
        if self._stop.is_set() and not self._pending:
            stream.end()
        elif full or stream.seal_due():
            stream.seal()
        self._settle(stream)
        if full and self._pending:
            raise OSError(errno.EDQUOT, f"{self._pace.disk_bytes} bytes wait for the store ({self._shipper.reason})")

    def _full(self, stream: LogStream) -> bool:
        return self._shipper.waiting_bytes + stream.size > self._pace.disk_bytes

    def _settle(self, stream: LogStream) -> None:
        """Tell those whose records are on the disk."""
        self._durable = stream.synced
        self._answer(self._waiters_up_to(self._durable), True)

    def _take(self, stream: LogStream) -> None:
        if not self._pending:
            return
        stream.ready()
        for _ in range(BATCH):
            if not self._pending:
                return
            record, weight = self._pending[0]
            stream.add(record)
            self._pending.popleft()
            self._weight_out += weight

    def _waiters_up_to(self, sequence: int | None) -> list[_Waiter]:
        """Takes out those who wait for a record up to this one (None: for any)."""
        done: list[_Waiter] = []
        for _ in range(len(self._waiters)):  # others may be added meanwhile
            waiter = self._waiters.popleft()
            if sequence is None or waiter.sequence <= sequence:
                done.append(waiter)
            else:
                self._waiters.append(waiter)
        return done

    def _answer(self, waiters: list[_Waiter], answer: bool) -> None:
        if not waiters:
            return

        def resolve() -> None:
            for waiter in waiters:
                if not waiter.future.done():
                    waiter.future.set_result(answer)

        try:
            waiters[0].future.get_loop().call_soon_threadsafe(resolve)
        except RuntimeError:  # the loop is closed: nobody waits any more
            log.debug("a waiter's event loop has ended")


def _weight(value: Any) -> int:
    """Roughly the bytes of an observation in memory."""
    if isinstance(value, (str, bytes, msgspec.Raw)):
        return len(bytes(value)) if isinstance(value, msgspec.Raw) else len(value)
    if isinstance(value, dict):
        return sum(map(_weight, value.values()))
    if isinstance(value, (list, tuple)) and value:
        return len(value) * (_weight(value[0]) if isinstance(value[0], (list, tuple)) else ELEMENT_WEIGHT)
    return ELEMENT_WEIGHT
