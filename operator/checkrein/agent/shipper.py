"""Brings the log's sealed segments into the store, with the streams' registrations, ends and anchors.

One thread, in order: what is in the store is a whole beginning of each stream. While the store is away everything stays
on the disk. It needs the right to create objects below its own prefix and no other: it never reads, lists or deletes
there, and a key that is taken was taken by its own earlier attempt.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from checkrein.agent import logfiles
from checkrein.agent.backoff import delay
from checkrein.agent.logfiles import Recovered, Sealed
from checkrein.api.digests import sha256
from checkrein.api.meta import bounded
from checkrein.store.client import Store
from checkrein.store.decisions import layout, registry, segments
from checkrein.store.decisions.records import End
from checkrein.store.decisions.registry import Anchor, Closed, Opened
from checkrein.store.errors import AlreadyExists, StoreError

NICE = 10
REST_SECONDS = 0.001
log = logging.getLogger(__name__)

READ_ATTEMPTS = 5  # then what comes after a damaged file must not wait any longer


@dataclass
class _Job:
    """One thing to be stored; its bytes are made when its turn comes. `done` gets them, empty where there were none."""

    key: str
    data: Callable[[], bytes]
    done: Callable[[bytes], None]
    failures: int = 0


class Shipper:
    """`store` is None where there is none: then nothing leaves the disk."""

    def __init__(
        self, store: Store | None, now: Callable[[], str], *, anchor_seconds: float, rng: random.Random
    ) -> None:
        self._store = store
        self._now = now
        self._anchor_seconds = anchor_seconds
        self._rng = rng
        self._jobs: deque[_Job] = deque()
        self._wake, self._ending = threading.Event(), threading.Event()
        self._deadline: float | None = None  # monotonic seconds; set once no more will come
        self._head: End | None = None
        self._registered = False  # an anchor of an unknown stream would look like a registration that was removed
        self._anchored = 0
        self._fresh: dict[str, str] = {}  # digests of segments stored since the last anchor
        self._kept: dict[str, Path] = {}  # each stream's last stored file: a recovery needs its head
        self.stored = 0  # last record of the current stream that is in the store
        self._bytes_in = self._bytes_out = 0  # the writer's, and this thread's
        self.reason = ""  # why nothing can be stored, while that is so
        self._thread = threading.Thread(target=self._run, name="log-shipper", daemon=True)

    def start(self) -> None:
        """Begin."""
        if self._store is not None:
            self._thread.start()

    @property
    def waiting_bytes(self) -> int:
        """On the disk, sealed, and not in the store."""
        return self._bytes_in - self._bytes_out

    @property
    def behind(self) -> bool:
        """Whether more than one job waits: then larger segments are better than more of them."""
        return len(self._jobs) > 1

    def opened(self, stream: Opened) -> None:
        """A stream begins. Call from the writer, as all that follows."""

        def done(_: bytes) -> None:
            self._registered = True

        self._add(layout.opened(stream.stream), lambda: registry.wrap(stream), done)

    def sealed(self, file: Sealed, *, current: bool = True) -> None:
        """A segment waits."""
        key = layout.segment(file.header.stream, file.header.first)
        self._bytes_in += file.size

        def done(data: bytes) -> None:
            if data:
                self._fresh[key] = sha256(data)
            self._bytes_out += file.size
            if current:
                self.stored = file.header.last
            if before := self._kept.get(file.header.stream):
                before.unlink(missing_ok=True)
            self._kept[file.header.stream] = file.path

        self._add(key, lambda: segments.pack(file.header, self._unhurried(file.lines())), done)

    def recovered(self, found: Recovered) -> None:
        """What an earlier boot left, and its end."""
        if found.opened:
            self._add(layout.opened(found.stream), partial(registry.wrap, found.opened), lambda _: None)
        for file in found.sealed:
            self.sealed(file, current=False)
        self.closed(found.end, found.folder, recovered=True)

    def closed(self, end: End, folder: Path, *, recovered: bool = False) -> None:
        """A stream ends; its folder goes once the store knows."""

        def statement() -> bytes:
            told = {k: d for k, d in self._fresh.items() if k.startswith(f"{end.stream}/")}
            return registry.wrap(
                Closed(
                    stream=end.stream,
                    seq=end.seq,
                    head=end.head,
                    timestamp=self._now(),
                    recovered=recovered,
                    segments=told,
                )
            )

        def done(_: bytes) -> None:
            self._fresh = {k: d for k, d in self._fresh.items() if not k.startswith(f"{end.stream}/")}
            self._kept.pop(end.stream, None)
            logfiles.forget(folder)

        self._add(layout.closed(end.stream), statement, done)

    def synced(self, head: End) -> None:
        """The current stream's chain stands there now, on the disk: what is vouched for can be recovered."""
        self._head = head

    def finish(self, seconds: float) -> bool:
        """No more will come: store what waits, for at most so long. Whether all of it is stored."""
        self._deadline = time.monotonic() + seconds
        self._ending.set()
        self._wake.set()
        if self._store is None:
            return True
        if not self._thread.is_alive():
            return not self._jobs
        self._thread.join(seconds + 1)
        return not self._jobs

    def _add(self, key: str, data: Callable[[], bytes], done: Callable[[bytes], None]) -> None:
        self._jobs.append(_Job(key, data, done))
        self._wake.set()

    def _run(self) -> None:
        # Compressing a segment takes milliseconds, for which no decision should have to wait.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        failures, anchor_due = 0, 0.0
        while not self._over():
            try:
                if time.monotonic() >= anchor_due and self._deadline is None and self._anchor():
                    anchor_due = time.monotonic() + self._anchor_seconds
                if self._jobs:
                    self._ship(self._jobs[0])
                    self._jobs.popleft()
            except Exception as error:  # noqa: BLE001 - giving up would be silence: whatever it is, it is tried again
                failures += 1
                self._failed(error, failures)
                self._pause(delay(failures, self._rng, limit=5.0))
                continue
            if failures:
                log.info("the decision log is being stored again")
            failures, self.reason = 0, ""
            if not self._jobs:
                self._pause(self._anchor_seconds)

    def _over(self) -> bool:
        return self._deadline is not None and (not self._jobs or time.monotonic() > self._deadline)

    def _pause(self, seconds: float) -> None:
        """Until a job comes, at most so long; while stopping, never past the deadline."""
        if self._deadline is not None:
            seconds = min(seconds, 0.5, max(0.0, self._deadline - time.monotonic()))
            time.sleep(seconds)
            return
        until = time.monotonic() + seconds
        while self._deadline is None and (left := until - time.monotonic()) > 0:
            if self._wake.wait(left):
                self._wake.clear()
                if not self.reason:  # a new job is no reason to ask a store that is away sooner
                    return

    def _failed(self, error: Exception, failures: int) -> None:
        self.reason = bounded(str(error), 300)
        if failures == 1 or not isinstance(error, (StoreError, OSError)):
            log.warning("the decision log cannot be stored, and is kept on the disk: %s", self.reason)

    def _ship(self, job: _Job) -> None:
        try:
            data = job.data()
        except OSError as error:
            job.failures += 1
            if job.failures < READ_ATTEMPTS:
                raise
            log.error("%s cannot be read from the disk and is given up, an audit will miss it: %s", job.key, error)
            job.done(b"")
            return
        self._put(job.key, data)
        job.done(data)

    def _anchor(self) -> bool:
        """Whether the head had moved, and its anchor is stored."""
        head = self._head
        if head is None or head.seq == self._anchored or not self._registered:
            return False
        fresh = dict(self._fresh)
        anchor = Anchor(stream=head.stream, seq=head.seq, head=head.head, timestamp=self._now(), segments=fresh)
        self._put(layout.anchor(head.stream, head.seq), registry.wrap(anchor))
        self._anchored = head.seq
        for key in fresh:
            del self._fresh[key]
        return True

    def _unhurried(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """With a rest after each, unless this ends: on one core the system would else let decisions wait for many."""
        for piece in pieces:
            yield piece
            self._ending.wait(REST_SECONDS)

    def _put(self, key: str, data: bytes) -> None:
        assert self._store is not None, "the thread runs only where there is a store"
        try:
            self._store.put(self._store.location.write_prefix + key, data, if_absent=True)
        except AlreadyExists:
            log.info("%s is stored already", key)
