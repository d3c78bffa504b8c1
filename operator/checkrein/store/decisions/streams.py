"""Proves one stream, segment by segment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import msgspec

from checkrein.store.decisions import records, segments
from checkrein.store.decisions.chain import Chain, ChainError
from checkrein.store.decisions.findings import Entry, Severity, StreamReport
from checkrein.store.decisions.records import (
    ClosedRecord,
    DecisionRecord,
    End,
    EndRecord,
    GapRecord,
    OpenedRecord,
    Record,
)
from checkrein.store.decisions.registry import Closed, Opened
from checkrein.store.decisions.segments import Header, SegmentError
from checkrein.store.decisions.sources import SourceError
from checkrein.store.decisions.steps import Steps


class Find(Protocol):
    """Notes a finding."""

    def __call__(self, severity: Severity, code: str, stream: str, message: str, seq: int | None = None) -> None:
        """See Finding."""


@dataclass(frozen=True)
class Vouched:
    """What stands beside a stream: heads by record, the times of those that are anchors, and its end."""

    heads: dict[int, set[str]]
    anchors: dict[int, str]
    closed: Closed | None


class Walk:
    """Goes along one stream. After a break it goes on by the next segment's own word, to prove what is left."""

    def __init__(self, name: str, agent_id: str, vouched: Vouched, steps: Steps, find: Find) -> None:
        self._name = name
        self._vouched = vouched
        self._met: set[int] = set()
        self._steps = steps
        self._note = find
        self._chain = Chain.start(name)
        self._broken = self._disordered = False
        self.report = StreamReport(name, agent_id)

    @property
    def end(self) -> End:
        """Where it stands."""
        return End(self._name, self._chain.seq, self._chain.head.hex())

    def segment(self, first: int, key: str, read: Callable[[], tuple[Header, list[bytes]]]) -> Iterator[Entry]:
        """The records of the segment at this key, each once it is proved."""
        if first > self._chain.seq + 1:
            self._broken = True
            what = f"records {self._chain.seq + 1} to {first - 1} are missing"
            self._find("error", "SegmentMissing", what, self._chain.seq + 1)
        try:
            header, lines = read()
            self._enter(first, key, header)
            for data in segments.verified(header, lines, self._chain):
                self._check_head()
                yield self._entry(data)
        except (SourceError, SegmentError, ChainError) as error:
            self._broken = True
            self._find("error", "Changed", f"{key} {error}", self._chain.seq + 1)
        else:
            self.report.segments += 1
            self.report.since = self.report.since or header.since
            self.report.until = header.until

    def _enter(self, first: int, key: str, header: Header) -> None:
        if (header.stream, header.first) != (self._name, first):
            raise SegmentError(f"is of {header.stream} from record {header.first} on")
        self.report.agent_id = self.report.agent_id or header.agent_id
        if header.agent_id != self.report.agent_id:
            raise SegmentError(f"is of {header.agent_id}, and the stream is of {self.report.agent_id}")
        if (header.first, header.previous) != (self._chain.seq + 1, self._chain.head.hex()):
            if not self._broken:
                self._find("error", "Broken", f"{key} does not follow record {self._chain.seq}", first)
            self._broken = True
            self._chain = segments.resumed(header)

    def _check_head(self) -> None:
        seq, head = self._chain.seq, self._chain.head.hex()
        told = self._vouched.heads.get(seq)
        if told is None:
            return
        self._met.add(seq)
        if told != {head}:
            self._find("error", "Contradicted", f"record {seq} is not the one that was vouched for", seq)

    def _entry(self, data: bytes) -> Entry:
        seq = self._chain.seq
        self.report.records += 1
        try:
            record: Record | None = records.decode(data)
        except msgspec.MsgspecError as error:
            record = None
            self._find("note", "UnknownRecord", f"record {seq} is not one that this release knows: {error}", seq)
        misplaced = (seq == 1) != isinstance(record, OpenedRecord) or self.report.state != "open"
        if misplaced and not self._disordered:
            self._disordered = True
            self._find("error", "Disordered", f"record {seq} does not stand where its kind stands", seq)
        self._mark(seq, record)
        return Entry(self._name, seq, data, record)

    def _mark(self, seq: int, record: Record | None) -> None:
        if isinstance(record, DecisionRecord):
            self._steps.decided(record.episode, record.step)
        elif isinstance(record, EndRecord):
            self._steps.ended(record.episode, record.step)
        elif isinstance(record, GapRecord):
            self.report.lost += record.lost
            span = f"between {record.since} and {record.timestamp}"
            self._find("warning", "Gap", f"{record.lost} records could not be kept {span}: {record.reason}", seq)
        elif isinstance(record, ClosedRecord):
            self.report.state = "recovered" if record.recovered else "closed"
            if record.cut:
                what = f"after a crash {record.cut} bytes of unfinished records were cut off after record {seq - 1}"
                self._find("warning", "Cut", what, seq)

    def finish(self, under_way: Callable[[str], bool], opened: Opened | None) -> None:
        """Checks its end, once all segments were walked."""
        self.report.head = self._chain.head.hex()
        missed = sorted(self._vouched.heads.keys() - self._met)
        beyond = [seq for seq in missed if seq > self._chain.seq]
        if len(missed) > len(beyond) and not self._broken:
            self._find("error", "Contradicted", f"record {missed[0]} was vouched for, but is not there", missed[0])
        if beyond:
            self._check_tail(beyond[-1], under_way)
        elif not self._chain.seq:
            fresh = opened is not None and under_way(opened.timestamp)
            self._find("note" if fresh else "error", "UnderWay" if fresh else "TailMissing", "it has no records")
        if self.report.state == "open":
            what = f"it runs, or its records after number {self._chain.seq} were lost with its pod"
            self._find("note", "Open", f"it is not closed: {what}", self._chain.seq)
        elif self._vouched.closed is None:
            self._find("note", "Open", "its last record says that it ended; the registry does not say so yet")

    def _check_tail(self, last: int, under_way: Callable[[str], bool]) -> None:
        what = f"records {self._chain.seq + 1} to {last} are missing at its end"
        anchored = self._vouched.anchors.get(last)
        if anchored is not None and self._vouched.closed is None and under_way(anchored):
            self._find("note", "UnderWay", f"{what}, and may be on their way still", last)
        else:
            self._find("error", "TailMissing", what, last)

    def _find(self, severity: Severity, code: str, message: str, seq: int | None = None) -> None:
        self._note(severity, code, self._name, message, seq)
