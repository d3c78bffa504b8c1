"""What an audit says: findings, and how far each stream was proved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from checkrein.store.decisions.records import Record

Severity = Literal["error", "warning", "note"]
State = Literal["closed", "recovered", "open"]


@dataclass(frozen=True)
class Finding:
    """error: the log is not what was written, or a part of it is missing. warning: it says itself that something is
    missing, or somebody wrote in vain where nobody should. note: it may still be growing."""

    severity: Severity
    code: str
    stream: str
    message: str
    seq: int | None = None


@dataclass(frozen=True)
class Entry:
    """One proved record. `record` is None where this release does not know its kind; `data` is its JSON."""

    stream: str
    seq: int
    data: bytes
    record: Record | None


@dataclass
class StreamReport:
    """How far one stream was proved. `state`: closed, recovered (closed by a later boot), or open (running, or gone).

    `lost` counts the records of which the stream itself says that they could not be kept.
    """

    stream: str
    agent_id: str = ""
    records: int = 0
    segments: int = 0
    head: str = ""
    state: State = "open"
    since: str = ""
    until: str = ""
    lost: int = 0
