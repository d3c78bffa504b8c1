"""Write points: every write of the operator by a name that is the same in every run, and a crash at each."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from tests.faults.faults import Killed
from tests.faults.proxy import Call

VARIES = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16,}")


def is_point(call: Call) -> bool:
    """Whether the operator writes by it."""
    return call.writes and call.by_operator


def label(call: Call) -> str:
    """What is written: `api PATCH trainingjobs/a/status Complete=Training`, `store PUT policies/versions/games/1`."""
    if call.side == "store":
        return f"store {call.method} {_plain(call.path.lstrip('/')) or 'session'}"
    path = call.path.partition("/namespaces/")[2].partition("/")[2]
    return f"api {call.method} {path} {_said(call)}".rstrip()


def _said(call: Call) -> str:
    """What tells this write of an object from others: a name, the reason of an Event, a status's conditions."""
    try:
        body = json.loads(call.body or b"{}")
    except ValueError:
        return ""
    if body.get("kind") == "Event":
        return f"{body['regarding']['kind']} {body['regarding']['name']} {body['reason']}"
    if call.method == "POST":
        return str(body["metadata"].get("name", ""))
    conditions = body.get("status", {}).get("conditions", ())
    return " ".join(sorted(f"{c['type']}={c['reason']}" for c in conditions))


def _plain(path: str) -> str:
    """Without what differs between runs: folders of clusters, namespaces and uids."""
    return VARIES.sub("-", re.sub(r"^(\w+/\w+)/[^/]+/[^/]+/", r"\1/", path) if "/sha256/" not in path else path)


@dataclass(frozen=True)
class Point:
    """The `number`-th write (from 0) of this name."""

    label: str
    number: int

    def killed(self, when: str) -> KilledAt:
        """The operator is killed here, `when` (before, after)."""
        return KilledAt(self.label.partition(" ")[0], first=self.number, when=when, label=self.label)


def points(writes: Iterable[str]) -> list[Point]:
    """All, in their order."""
    seen: Counter[str] = Counter()
    found = []
    for one in writes:
        found.append(Point(one, seen[one]))
        seen[one] += 1
    return found


@dataclass
class KilledAt(Killed):
    """The operator is killed at one point."""

    label: str = ""

    def concerns(self, call: Call) -> bool:
        return call.side == self.side and is_point(call) and label(call) == self.label
