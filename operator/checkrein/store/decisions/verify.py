"""Proves a log's order, completeness and integrity, and hands out its records while it does.

What is proved: each stream's records follow each other from the first to the last without a hole, none was changed,
and every stream that is registered, or named by the one after it, is there. What cannot be proved without knowledge
from elsewhere: that a whole stream with all traces of it was not removed. Object lock prevents that in the store; for a
copy, give `expected`: where the streams stood when somebody looked before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from checkrein.api.digests import sha256
from checkrein.store.decisions import layout, registry, segments
from checkrein.store.decisions.findings import Entry, Finding, Severity, StreamReport
from checkrein.store.decisions.layout import Place
from checkrein.store.decisions.records import End
from checkrein.store.decisions.registry import Anchor, Closed, Opened, RegistryError
from checkrein.store.decisions.segments import Header, SegmentError
from checkrein.store.decisions.sources import Source, SourceError
from checkrein.store.decisions.steps import Steps
from checkrein.store.decisions.streams import Vouched, Walk

# What is registered or anchored may be in the store before the segment that bears it out: so long that may take.
UNDER_WAY = timedelta(seconds=60)


@dataclass
class _Objects:
    """Keys of one stream. `root` is its AgentDeployment's prefix."""

    root: str
    opened: str = ""
    closed: str = ""
    segments: dict[int, str] = field(default_factory=dict)
    anchors: dict[int, str] = field(default_factory=dict)


class Audit:
    """One pass over a log. Exhaust `entries()`; then `streams`, `findings` and `ends` are complete.

    `agent_id` (NAMESPACE/NAME) picks one AgentDeployment's streams; a stream that does not tell whose it is counts.
    """

    def __init__(
        self, source: Source, *, agent_id: str | None = None, expected: Mapping[str, End] | None = None
    ) -> None:
        self._source = source
        self._agent_id = agent_id
        self._expected = expected or {}
        self._stored: dict[str, str] = {}  # digests of segments, as anchors tell them
        self._read: dict[str, str] = {}  # and as they were read
        self._opened: dict[str, Opened] = {}
        self._steps = Steps()
        self.ends: dict[str, End] = {}
        self.streams: list[StreamReport] = []
        self.findings: list[Finding] = []

    @property
    def proved(self) -> bool:
        """Whether there is no error."""
        return not any(f.severity == "error" for f in self.findings)

    def run(self) -> Audit:
        """For those who want no records."""
        for _ in self.entries():
            pass
        return self

    def entries(self) -> Iterator[Entry]:
        """Every record that is proved, stream by stream. Raises StoreError where the store fails."""
        wanted = {name: found for name, found in self._sorted().items() if self._wanted(found)}
        self._check_oddities(wanted)
        for name in sorted(wanted, key=_by_boot):
            yield from self._stream(name, wanted[name])
        if not wanted:
            self._find(
                "error", "Empty", "", "there is no such log here: check the place and the AgentDeployment's name"
            )
        self._check_stored()
        self._check_previous()
        self._check_expected()
        for message in self._steps.missing():
            self._find("warning", "StepsMissing", "", message)

    def _sorted(self) -> dict[str, _Objects]:
        found: dict[str, _Objects] = {}
        for key in self._source.listing():
            spot = layout.place(key)
            if spot is None:
                self._find("warning", "Unknown", "", f"{key} is no part of a log")
            else:
                self._put(found.setdefault(spot.stream, _Objects(spot.root)), spot, key)
        return found

    def _put(self, objects: _Objects, spot: Place, key: str) -> None:
        if spot.root != objects.root:
            self._find("error", "Misplaced", spot.stream, f"{key} lies apart from its stream, below {objects.root!r}")
        elif spot.kind == "segment":
            objects.segments[spot.number] = key
        elif spot.kind == "anchor":
            objects.anchors[spot.number] = key
        elif spot.kind == "opened":
            objects.opened = key
        else:
            objects.closed = key

    def _wanted(self, objects: _Objects) -> bool:
        if self._agent_id is None:
            return True
        try:
            return registry.unwrap(self._source.read(objects.opened), Opened).agent_id == self._agent_id
        except (SourceError, RegistryError):
            pass
        for key in sorted(objects.segments.values()):
            try:
                return segments.unpack(self._source.read(key))[0].agent_id == self._agent_id
            except (SourceError, SegmentError):
                continue
        return True

    def _check_oddities(self, wanted: Mapping[str, _Objects]) -> None:
        for oddity in self._source.oddities():
            stream = _stream_of(oddity.key)
            if self._agent_id is None or stream in wanted or not stream:
                severity: Severity = "warning" if oddity.harmless else "error"
                self._find(severity, "Tampered", stream, f"{oddity.key} {oddity.message}")

    def _stream(self, name: str, objects: _Objects) -> Iterator[Entry]:
        opened = self._registration(name, objects)
        vouched = self._vouched(name, objects)
        walk = Walk(name, opened.agent_id if opened else "", vouched, self._steps, self._find)
        self.streams.append(walk.report)
        for first, key in sorted(objects.segments.items()):
            yield from walk.segment(first, key, partial(self._segment, key))
        walk.finish(self._under_way, opened)
        self.ends[name] = walk.end

    def _registration(self, name: str, objects: _Objects) -> Opened | None:
        if not objects.opened:
            key = objects.root + layout.opened(name)
            self._find("error", "Unregistered", name, f"{key} is missing: a stream is registered before all else")
            return None
        opened = self._statement(objects.opened, Opened, name)
        if opened:
            self._opened[name] = opened
        return opened

    def _vouched(self, name: str, objects: _Objects) -> Vouched:
        """What others than the segments say of the stream."""
        heads: dict[int, set[str]] = defaultdict(set)
        anchors: dict[int, str] = {}
        for number, key in objects.anchors.items():
            if anchor := self._statement(key, Anchor, name):
                if anchor.seq != number:
                    self._find("error", "Misplaced", name, f"{key} is of record {anchor.seq}")
                heads[anchor.seq].add(anchor.head)
                anchors[anchor.seq] = anchor.timestamp
                self._stored.update({objects.root + k: d for k, d in anchor.segments.items()})
        closed = self._statement(objects.closed, Closed, name) if objects.closed else None
        if closed:
            heads[closed.seq].add(closed.head)
            self._stored.update({objects.root + k: d for k, d in closed.segments.items()})
        if before := self._expected.get(name):
            heads[before.seq].add(before.head)
        return Vouched(dict(heads), anchors, closed)

    def _segment(self, key: str) -> tuple[Header, list[bytes]]:
        data = self._source.read(key)
        self._read[key] = sha256(data)
        return segments.unpack(data)

    def _statement(self, key: str, kind: type[registry.Statement], name: str) -> registry.Statement | None:
        try:
            statement = registry.unwrap(self._source.read(key), kind)
        except (SourceError, RegistryError) as error:
            self._find("error", "Changed", name, f"{key} {error}")
            return None
        if statement.stream != name:
            self._find("error", "Misplaced", name, f"{key} is of {statement.stream}")
            return None
        return statement

    def _under_way(self, timestamp: str) -> bool:
        """Whether what was told at this moment may still have been on its way when the source was taken."""
        if self._source.taken is None:
            return False
        try:
            return datetime.fromisoformat(self._source.taken) - datetime.fromisoformat(timestamp) < UNDER_WAY
        except (TypeError, ValueError):
            return False

    def _check_stored(self) -> None:
        for key, digest in self._stored.items():
            if self._read.get(key, digest) != digest:
                self._find("error", "Changed", _stream_of(key), f"{key} is not the object that was stored")

    def _check_previous(self) -> None:
        for name, opened in self._opened.items():
            previous = opened.previous
            if previous and self.ends.get(previous.stream) != previous:
                found = self.ends.get(previous.stream, End(previous.stream, 0, ""))
                what = f"{name} came after its record {previous.seq}, but it ends at record {found.seq}"
                if found.seq < previous.seq and self._under_way(opened.timestamp):
                    self._find("note", "UnderWay", previous.stream, f"{what}; the rest may be on its way still")
                else:
                    self._find("error", "TailMissing" if found.seq else "StreamMissing", previous.stream, what)

    def _check_expected(self) -> None:
        for stream, end in self._expected.items():
            if stream not in self.ends:
                what = f"it is not there, but had {end.seq} records when it was looked at before"
                self._find("error", "StreamMissing", stream, what)

    def _find(self, severity: Severity, code: str, stream: str, message: str, seq: int | None = None) -> None:
        self.findings.append(Finding(severity, code, stream, message, seq))


def _by_boot(stream: str) -> tuple[str, int]:
    return stream.rpartition(".")[0], layout.boot_of(stream) or 0


def _stream_of(key: str) -> str:
    spot = layout.place(key)
    return spot.stream if spot else ""
