"""The log put together: decisions with what was told of them later, retries folded, forks marked.

Records come stream by stream; what belongs together lies in several. So they pass through a database in a temporary
file: a log may be larger than memory.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from checkrein.store.decisions.findings import Entry
from checkrein.store.decisions.records import DecisionRecord, EndRecord, OutcomeRecord, ShadowRecord

_TABLES = """
CREATE TABLE entries (
    stream TEXT, seq INTEGER, kind TEXT, timestamp TEXT, episode TEXT, step INTEGER, decision TEXT, digest TEXT,
    policy TEXT, explored INTEGER, data TEXT, PRIMARY KEY (stream, seq)) WITHOUT ROWID;
CREATE TABLE rewards (
    episode TEXT, step INTEGER, timestamp TEXT, reward REAL, cost REAL, objective REAL);
CREATE TABLE outcomes (
    decision TEXT, episode TEXT, timestamp TEXT, reward REAL, cost REAL, objective REAL, final INTEGER);
"""
_INDICES = """
CREATE INDEX by_decision ON entries (decision, digest);
CREATE INDEX by_episode ON entries (kind, episode, step);
CREATE INDEX rewards_of ON rewards (episode, step);
CREATE INDEX outcomes_of_decisions ON outcomes (decision);
CREATE INDEX outcomes_of_episodes ON outcomes (episode);
"""
# Of the answers to one request only the last was acted on. SQLite takes bare columns from the row of the maximum.
_FOLD = """
CREATE TABLE folded AS SELECT stream, seq, count(*) AS copies,
    max(timestamp || '/' || stream || '/' || printf('%012d', seq)) AS place
    FROM entries WHERE kind = 'decision' GROUP BY decision, digest;
"""
_BATCH = 10_000
_SHADOW = ("policy", "outcome", "action", "q_value", "probability", "agreed", "distance")


@dataclass(frozen=True)
class Query:
    """Which records. Times are RFC 3339 in UTC, `since` inclusive, `until` exclusive."""

    kind: str | None = None
    episode: str | None = None
    decision: str | None = None
    policy: str | None = None
    since: str | None = None
    until: str | None = None
    explored: bool | None = None
    limit: int | None = None

    def condition(self) -> tuple[str, list[Any]]:
        """For a WHERE clause."""
        tests = {
            "kind = ?": self.kind,
            "episode = ?": self.episode,
            "decision = ?": self.decision,
            "policy = ?": self.policy,
            "timestamp >= ?": self.since,
            "timestamp < ?": self.until,
            "explored = ?": None if self.explored is None else int(self.explored),
        }
        chosen = {test: value for test, value in tests.items() if value is not None}
        return " AND ".join(chosen) or "1", list(chosen.values())


class Ledger:
    """Filled once, then asked. A context manager: its file ends with it."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._db = sqlite3.connect("")  # a temporary file once it outgrows its cache
        self._db.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + _TABLES)
        self._fill(entries)
        self._db.executescript(_INDICES + _FOLD)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._db.close()

    def _fill(self, entries: Iterable[Entry]) -> None:
        rows: list[tuple[Any, ...]] = []
        for entry in entries:
            rows.append(_row(entry))
            self._told(entry)
            if len(rows) >= _BATCH:
                self._insert(rows)
        self._insert(rows)

    def _insert(self, rows: list[tuple[Any, ...]]) -> None:
        self._db.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        rows.clear()

    def _told(self, entry: Entry) -> None:
        """What a record says of an earlier decision."""
        record = entry.record
        if isinstance(record, OutcomeRecord):
            told = (record.decision, record.episode, record.timestamp, *_numbers(record), record.final)
            self._db.execute("INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?)", told)
        elif isinstance(record, (DecisionRecord, EndRecord)) and any(n is not None for n in _numbers(record)):
            of = (record.episode, record.step - 1, record.timestamp, *_numbers(record))
            self._db.execute("INSERT INTO rewards VALUES (?, ?, ?, ?, ?, ?)", of)

    def decisions(self, query: Query = Query()) -> Iterator[dict[str, Any]]:
        """Each decision once, in the order of their times.

        `reward`, `cost` and `objective` are its own: what the episode's next request said. `late_*` are the sums of
        the outcomes that name it and, at an episode's last decision, of those that name the episode only. `copies`
        counts the answers to retries that this row stands for; it is the last of them. `forked`: the same step was
        also decided on another observation, so `reward` may be another branch's. `shadow_*` are what the candidate of a
        rollout said to the same observation, None where it was not asked.
        """
        condition, values = query.condition()
        found = self._db.execute(
            f"SELECT decision, copies, data FROM folded JOIN entries USING (stream, seq) WHERE {condition} "  # noqa: S608 - our own words
            "ORDER BY place LIMIT ?",
            [*values, -1 if query.limit is None else query.limit],
        )
        for decision, copies, data in found:
            yield self._joined(json.loads(data), decision, copies)

    def records(self, query: Query) -> Iterator[dict[str, Any]]:
        """Records as they stand, with `stream` and `seq`, by their times."""
        condition, values = query.condition()
        found = self._db.execute(
            f"SELECT stream, seq, data FROM entries WHERE {condition} ORDER BY timestamp, stream, seq LIMIT ?",  # noqa: S608 - our own words
            [*values, -1 if query.limit is None else query.limit],
        )
        for stream, seq, data in found:
            yield {"stream": stream, "seq": seq, **json.loads(data)}

    def _joined(self, row: dict[str, Any], decision: str, copies: int) -> dict[str, Any]:
        branches = self._one("SELECT count(DISTINCT digest) FROM entries WHERE decision = ?", decision)[0]
        told = self._one(
            "SELECT reward, cost, objective FROM rewards WHERE episode = ? AND step = ? ORDER BY timestamp LIMIT 1",
            row["episode"],
            row["step"],
        ) or (None, None, None)
        late = self._late(row, decision)
        row.update(dict(zip(("reward", "cost", "objective"), told, strict=True)))
        row.update(late)
        row["forked"] = bool(row.get("forked")) or branches > 1
        row["copies"] = copies
        return row | self._shadow(decision, row["observation_digest"])

    def _shadow(self, decision: str, digest: str) -> dict[str, Any]:
        found = self._one(
            "SELECT data FROM entries WHERE kind = 'shadow' AND decision = ? AND digest = ? ORDER BY timestamp DESC",
            decision,
            digest,
        )
        told = json.loads(found[0]) if found else {}
        return {f"shadow_{name}": told.get(name) for name in _SHADOW}

    def _late(self, row: dict[str, Any], decision: str) -> dict[str, Any]:
        following = self._one(
            "SELECT 1 FROM entries WHERE kind = 'decision' AND episode = ? AND step > ? LIMIT 1",
            row["episode"],
            row["step"],
        )
        sums = self._one(
            "SELECT sum(reward), sum(cost), sum(objective), coalesce(max(final), 0), count(*) FROM outcomes "
            "WHERE decision = ? OR (decision IS NULL AND episode = ?)",
            decision,
            None if following else row["episode"],
        )
        names = ("late_reward", "late_cost", "late_objective", "final", "outcomes")
        joined = dict(zip(names, sums, strict=True))
        return joined | {"final": bool(joined["final"])}

    def _one(self, statement: str, *values: Any) -> Any:
        return self._db.execute(statement, values).fetchone()


def _row(entry: Entry) -> tuple[Any, ...]:
    record = entry.record
    read = record if isinstance(record, DecisionRecord) else None
    seen = record if isinstance(record, (DecisionRecord, ShadowRecord)) else None
    kind = json.loads(entry.data).get("kind", "") if record is None else type(record).__struct_config__.tag
    return (
        entry.stream,
        entry.seq,
        kind,
        getattr(record, "timestamp", ""),
        getattr(record, "episode", None),
        getattr(record, "step", None),
        getattr(record, "decision", None),
        seen.observation_digest if seen else None,
        getattr(record, "policy", None),
        int(read.exploration_flag) if read else None,
        entry.data.decode(),
    )


def _numbers(record: DecisionRecord | EndRecord | OutcomeRecord) -> tuple[float | None, float | None, float | None]:
    return record.reward, record.cost, record.objective
