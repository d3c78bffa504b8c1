"""What one replica saw of one episode, as it grows: the sums, and the steps that they are of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from checkrein.api.evidence import Part
from checkrein.store.decisions.records import DecisionRecord, EndRecord


class Shadowed(msgspec.Struct, rename="camel"):
    """As api.evidence.ShadowPart."""

    compared: int = 0
    agreed: int = 0
    failed: int = 0
    invalid: int = 0
    shielded: int = 0
    slow: dict[str, int] = {}
    dropped: int = 0


class Tally(msgspec.Struct, rename="camel"):
    """As api.evidence.Part, and it grows: the replica counts in it and encodes it as it stands."""

    episode: str
    unit: str
    arm: str
    policy: str
    started: float
    first: int
    last: int
    steps: list[list[int]] = []
    rewarded: list[list[int]] = []
    reward: float = 0.0
    cost: float = 0.0
    objective: float = 0.0
    late_reward: float = 0.0
    late_cost: float = 0.0
    outcomes: dict[str, list[float]] = {}
    final: bool = False
    decided: int = 0
    failed: int = 0
    overridden: int = 0
    shielded: int = 0
    slow: dict[str, int] = {}
    findings: dict[str, int] = {}
    groups: tuple[str, ...] = ()
    forked: bool = False
    ended: str = ""
    ended_at: float | None = None
    length: int | None = None
    shadow: Shadowed | None = None

    def found(self, what: str) -> None:
        """Something odd."""
        self.findings[what] = self.findings.get(what, 0) + 1

    def fork(self) -> None:
        """Its caller plays it twice."""
        if not self.forked:
            self.forked = True
            self.found("forked")

    def part(self) -> Part:
        """As it stands."""
        return Part.model_validate(msgspec.to_builtins(self))


def add_told(tally: Tally, step: int, record: DecisionRecord | EndRecord) -> None:
    """What the step came to."""
    if record.reward is not None:
        tally.reward += record.reward
        mark(tally.rewarded, step)
    if record.cost is not None:
        tally.cost += record.cost
    if record.objective is not None:
        tally.objective += record.objective


def within(ranges: list[list[int]], step: int) -> bool:
    return any(low <= step < high for low, high in reversed(ranges))


def mark(ranges: list[list[int]], step: int) -> None:
    """Adds a step that is in none of these ascending half-open ranges."""
    if ranges and ranges[-1][1] == step:
        ranges[-1][1] = step + 1
    elif not ranges or ranges[-1][1] < step:
        ranges.append([step, step + 1])
    else:
        ranges[:] = _joined(sorted([*ranges, [step, step + 1]]))


def _joined(ranges: Iterable[list[int]]) -> Iterator[list[int]]:
    """Those that touch become one."""
    last: Any = None
    for each in ranges:
        if last is not None and last[1] == each[0]:
            last[1] = each[1]
            continue
        if last is not None:
            yield last
        last = list(each)
    if last is not None:
        yield last
