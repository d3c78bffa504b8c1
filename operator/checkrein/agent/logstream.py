"""The stream of one boot: its chain, the file that is written, and what earlier boots left beside it."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from checkrein.agent import logfiles
from checkrein.agent.logfiles import Begin, Boot, SegmentFile
from checkrein.agent.shipper import Shipper
from checkrein.store.decisions import layout, records
from checkrein.store.decisions.chain import Chain
from checkrein.store.decisions.records import ClosedRecord, End, GapRecord, OpenedRecord, Record
from checkrein.store.decisions.registry import Opened

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Identity:
    """Whose log this is. `agent_id` is NAMESPACE/NAME of the AgentDeployment."""

    agent_id: str
    pod: str
    pod_uid: str


@dataclass(frozen=True)
class Pace:
    """How often, and how much. Times are seconds."""

    linger: float = 0.002  # for more records, before those that nobody waits for are written
    sync: float = 0.1
    seal: float = 2.0
    seal_bytes: int = 4 * 2**20
    anchor: float = 3.0
    buffer_records: int = 20_000
    buffer_bytes: int = 64 * 2**20
    disk_bytes: int = 512 * 2**20  # of segments that the store has not got


def utc() -> str:
    """Now, as records say it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class LogStream:
    """Belongs to the writer's thread. After an OSError every method may be called again."""

    def __init__(
        self, folder: Path, held: int, opened: Opened, shipper: Shipper, pace: Pace, now: Callable[[], str]
    ) -> None:
        self._home = folder.parent
        self._folder = folder
        self._opened = opened
        self._shipper = shipper
        self._pace = pace
        self._now = now
        self._chain = Chain.start(opened.stream)
        self._file: SegmentFile | None = None
        self._held = held
        self._began = self._last_sync = time.monotonic()
        self._ending = False
        self.synced = 0
        self.ended = False

    @classmethod
    def open(cls, folder: Path, identity: Identity, shipper: Shipper, pace: Pace, now: Callable[[], str]) -> LogStream:
        """Recovers what earlier boots left, and begins this one's. Raises OSError."""
        held = logfiles.lock(folder)
        try:
            return cls._begin(folder, held, identity, shipper, pace, now)
        except BaseException:
            logfiles.unlock(held)
            raise

    @classmethod
    def _begin(
        cls, folder: Path, held: int, identity: Identity, shipper: Shipper, pace: Pace, now: Callable[[], str]
    ) -> LogStream:
        boot = logfiles.read_boot(folder)
        left = logfiles.recover_all(folder, now())
        previous = left[-1].end if left else boot.end
        number = boot.number + 1
        logfiles.write_boot(folder, Boot(number, previous))
        stream = layout.stream_name(identity.pod, identity.pod_uid, number, secrets.token_hex(4))
        own = folder / stream
        own.mkdir()
        opened = Opened(
            stream=stream,
            agent_id=identity.agent_id,
            pod=identity.pod,
            pod_uid=identity.pod_uid,
            boot=number,
            timestamp=now(),
            previous=previous,
        )
        made = cls(own, held, opened, shipper, pace, now)
        made._register()
        for found in left:
            log.info("recovered the decision log of %s up to record %d", found.stream, found.end.seq)
            shipper.recovered(found)
        return made

    def _register(self) -> None:
        """The first record is on the disk before the store hears of the stream: a stream has records."""
        opened = self._opened
        self.ready()
        self.add(
            OpenedRecord(
                timestamp=opened.timestamp,
                agent_id=opened.agent_id,
                stream=opened.stream,
                pod=opened.pod,
                pod_uid=opened.pod_uid,
                boot=opened.boot,
                previous=opened.previous,
            )
        )
        self.write()
        self.sync()
        self._shipper.opened(opened)

    @property
    def name(self) -> str:
        """As the store knows it: pod, its uid and boot."""
        return self._opened.stream

    @property
    def size(self) -> int:
        """Bytes of the file that is written."""
        return self._file.size if self._file else 0

    def ready(self) -> None:
        """There is a file to add to."""
        if self._file is None:
            opened, chain = self._opened, self._chain
            begin = Begin(opened.stream, opened.agent_id, chain.seq + 1, chain.head.hex())
            self._file = SegmentFile(self._folder, begin)
            self._began = time.monotonic()

    def add(self, record: Record) -> None:
        """One more record, in memory."""
        assert self._file is not None, "call ready() first"
        try:
            data = records.encode(record)
        except (TypeError, ValueError, msgspec.MsgspecError) as error:
            log.error("a decision record could not be encoded: %s", error)
            now = self._now()
            data = records.encode(GapRecord(timestamp=now, lost=1, since=now, reason="the record could not be encoded"))
        line = self._chain.extend(data)
        self._file.add(line, self._chain.head, record.timestamp)

    def write(self) -> None:
        """To the kernel."""
        if self._file is not None and not self._file.clean:
            self._file.write()

    def sync_due(self) -> bool:
        """Whether what is written has waited long enough."""
        dirty = self._file is not None and not self._file.clean
        return dirty and time.monotonic() >= self._last_sync + self._pace.sync

    def sync(self) -> None:
        """To the disk."""
        if self._file is not None and not self._file.clean:
            self._file.sync()
            self._shipper.synced(End(self._opened.stream, self._chain.seq, self._chain.head.hex()))
        self._last_sync = time.monotonic()
        self.synced = self._chain.seq

    def seal_due(self) -> bool:
        """Whether the segment is old or large enough. While others wait for the store, only size counts."""
        if self._file is None:
            return False
        old = time.monotonic() >= self._began + self._pace.seal and not self._shipper.behind
        return old or self._file.size >= self._pace.seal_bytes

    def seal(self) -> None:
        """Hand the segment to the shipper."""
        if self._file is not None:
            self.sync()
            self._shipper.sealed(self._file.seal(self._chain))
            self._file = None

    def end(self) -> None:
        """The last record, the last segment, and the word that there are no more."""
        if not self._ending:
            self.ready()
            self.add(ClosedRecord(timestamp=self._now()))
            self._ending = True
        self.write()
        self.seal()
        end = End(self._opened.stream, self._chain.seq, self._chain.head.hex())
        logfiles.write_boot(self._home, Boot(self._opened.boot, end))
        self._shipper.closed(end, self._folder)
        self.ended = True

    def release(self) -> None:
        """Let another process have the folder."""
        logfiles.unlock(self._held)

    def due_in(self) -> float | None:
        """Seconds until something is due without a new record."""
        if self._file is None:
            return None
        due = self._began + self._pace.seal
        if self._shipper.behind:
            due = max(due, time.monotonic() + self._pace.seal)
        if not self._file.clean:
            due = min(due, self._last_sync + self._pace.sync)
        return max(0.001, due - time.monotonic())
