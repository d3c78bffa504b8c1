"""What all streams know of each episode, joined; and the blocks of planned starts that are ready to be scored.

Pure: evidence in, episodes and blocks out. Which blocks are scored next is told by marks (`StreamStatus.block`,
`RolloutStatus.counted_since`), which only ever grow, so that no unit is counted twice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from checkrein.api.evidence import Evidence, Part, ShadowPart
from checkrein.judge.assignment import Arm, Unit

Ranges = Iterable[tuple[int, int]]
PATIENCE = 120.0
"""Seconds for which what a vanished replica knew is waited for."""
WORST = ("deadline", "aborted", "shield")
"""Ends that must never pay: what would have been paid without them nobody knows."""


@dataclass(frozen=True)
class Clock:
    """When an episode is waited for no longer. Seconds."""

    now: float
    episode_deadline: float
    outcome_deadline: float = 0.0


@dataclass(frozen=True)
class Episode:
    """One episode, by all that any replica saw of it.

    `known`: no override, fork or gap has cut it. `worst`: unfinished, given up by its caller, who must not hide what
    became of it, or ended by the shield. `complete`: every step's reward was told, or a reporter said that nothing more
    will follow.
    """

    id: str
    unit: Unit
    arm: Arm
    started: float
    finished: bool
    known: bool
    worst: bool
    complete: bool
    reward: float = 0.0
    cost: float = 0.0
    decided: int = 0
    failed: int = 0
    shielded: int = 0
    slow: Mapping[str, int] = field(default_factory=dict)
    groups: frozenset[str] = frozenset()
    findings: Mapping[str, int] = field(default_factory=dict)
    shadow: ShadowPart | None = None


@dataclass(frozen=True)
class Found:
    """The episodes of one rollout by unit, in order of their start; and what could not be read."""

    episodes: Mapping[Unit, Sequence[Episode]]
    needed: Mapping[str, Sequence[tuple[Unit, int, float]]]
    """By stream: unit, first record and start of each part."""
    findings: Mapping[str, int] = field(default_factory=dict)


def joined(evidence: Iterable[Evidence], kinds: frozenset[str], rollout: str, clock: Clock) -> Found:
    """Parts of the units of this rollout, put together by episode."""
    parts: defaultdict[tuple[str, Unit], list[tuple[Part, bool]]] = defaultdict(list)
    needed: defaultdict[str, list[tuple[Unit, int, float]]] = defaultdict(list)
    findings: Counter[str] = Counter()
    for told in evidence:
        for part in told.parts:
            try:
                unit = Unit.parse(part.unit)
            except ValueError:
                findings["malformed"] += 1
                continue
            if unit.kind not in kinds or unit.rollout != rollout:
                continue
            parts[part.episode, unit].append((part, part.first <= told.lost_before))
            needed[told.stream].append((unit, part.first, part.started))
    episodes: defaultdict[Unit, list[Episode]] = defaultdict(list)
    for (id_, unit), those in parts.items():
        episodes[unit].append(_episode(id_, unit, those, clock))
    return Found({u: sorted(e, key=lambda x: (x.started, x.id)) for u, e in episodes.items()}, needed, findings)


def _episode(id_: str, unit: Unit, told: Sequence[tuple[Part, bool]], clock: Clock) -> Episode:
    parts = [part for part, _ in told]
    end = next((p for p in parts if p.ended), None)
    started, final = min(p.started for p in parts), any(p.final for p in parts)
    over = started + clock.episode_deadline
    ended_at = end.ended_at if end and end.ended_at is not None else over
    expired = clock.now >= over + clock.outcome_deadline
    length = end.length if end else None
    gaps = length is not None and not covers((r for p in parts for r in p.steps), length)
    settled = (
        end is not None
        and (final or clock.outcome_deadline == 0 or clock.now >= ended_at + clock.outcome_deadline)
        and (not gaps or clock.now >= ended_at + PATIENCE)  # another replica may tell of them
    )
    cut = (
        any(lost for _, lost in told) or any(p.overridden or p.forked for p in parts) or len({p.arm for p in parts}) > 1
    )
    rewarded = [r for p in parts for r in p.rewarded]
    twice = sum(b - a for a, b in rewarded) > covered(rewarded)  # a reward that two replicas have added
    told_all = length is not None and covers(rewarded, length)
    late = any(p.late_reward for p in parts)
    late_reward, late_cost = _late(parts)
    waits_for_outcomes = clock.outcome_deadline > 0
    return Episode(
        id=id_,
        unit=unit,
        arm=parts[0].arm,
        started=started,
        finished=settled or expired,
        known=not (cut or gaps or twice),
        worst=end is None or end.ended in WORST or (waits_for_outcomes and not (final or told_all or late)),
        complete=final or told_all or (waits_for_outcomes and late),
        reward=sum(p.reward for p in parts) + late_reward,
        cost=sum(p.cost for p in parts) + late_cost,
        decided=sum(p.decided for p in parts),
        failed=sum(p.failed for p in parts),
        shielded=sum(p.shielded for p in parts),
        slow=_summed(p.slow for p in parts),
        groups=frozenset(g for p in parts for g in p.groups),
        findings=_summed(p.findings for p in parts),
        shadow=_shadow(parts),
    )


def _late(parts: Iterable[Part]) -> tuple[float, float]:
    """Late reward and cost. An outcome that its reporter told two replicas, not knowing of the first, counts once."""
    reward = cost = 0.0
    known: set[str] = set()
    for part in sorted(parts, key=lambda p: (p.first, p.last)):
        again = [value for name, value in part.outcomes.items() if name in known]
        known.update(part.outcomes)
        reward += part.late_reward - sum(r for r, _ in again)
        cost += part.late_cost - sum(c for _, c in again)
    return reward, cost


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(total)


def _shadow(parts: Sequence[Part]) -> ShadowPart | None:
    seen = [p.shadow for p in parts if p.shadow]
    if not seen:
        return None
    return ShadowPart(
        compared=sum(s.compared for s in seen),
        agreed=sum(s.agreed for s in seen),
        failed=sum(s.failed for s in seen),
        invalid=sum(s.invalid for s in seen),
        shielded=sum(s.shielded for s in seen),
        slow=_summed(s.slow for s in seen),
        dropped=sum(s.dropped for s in seen),
    )


def covered(ranges: Ranges) -> int:
    """Steps in the union of half-open ranges."""
    total, reached = 0, 0
    for first, end in sorted(ranges):
        total += max(0, end - max(first, reached))
        reached = max(reached, end)
    return total


def covers(ranges: Ranges, length: int) -> bool:
    """Whether every step below `length` is in one of them."""
    return covered((a, min(b, length)) for a, b in ranges) >= length
