"""The ledger that gates read: what one replica saw of each episode that a rollout, or the watch over stable, assigned.

A pure fold over the records of one stream. The replica folds them as it appends them, a reader folds those that were
stored (`fold`), and both come to the same parts; only of an episode that began elsewhere is `started` better known to
the replica. Its rules:

* The first record of a step counts. The same step with the same observation again is a retry and adds nothing. With
  another observation, or a step back behind the last one, the caller plays the episode twice: it is `forked`. So it is
  where steps follow its end, or where it ends twice in two ways.
* The reward, cost and objective in a record are those of the step before it.
* `failed` are decisions of another regime than the episode's policy, unless a person or a limit wanted that.
* A late outcome with an id of its own counts once, and is told with it, so that whoever joins the parts of two replicas
  counts it once as well.
* What is told by the id of a decision belongs to its episode as long as that decision is among the last
  `DECISIONS_KNOWN`; what is told with an episode's token always does.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import TypeAdapter

from checkrein.api.evidence import PARTS_LIMIT, Part
from checkrein.api.gates import Latency
from checkrein.api.strategy import Strategy
from checkrein.store.decisions.records import (
    DecisionRecord,
    EndRecord,
    GapRecord,
    OutcomeRecord,
    Record,
    ShadowRecord,
)
from checkrein.store.decisions.tally import Shadowed, Tally, add_told, mark, within

DECISIONS_KNOWN = 65_536
"""Decisions whose episode is known by their id."""
OUTCOMES_KNOWN = 64
"""Late outcomes of an episode that are known by their id."""
_LATENCY: TypeAdapter[timedelta] = TypeAdapter(Latency)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(slots=True)
class _Entry:
    """`digest` is that of the observation of the latest step decided here."""

    tally: Tally
    digest: str = ""


class Parts:
    """The parts of one stream, the oldest first; the oldest goes where there are more than `limit`.

    `slow` has the latencies that are counted, in microseconds, by the name that they go by (see `latencies`).
    """

    def __init__(self, slow: Mapping[str, int] | None = None, limit: int = PARTS_LIMIT) -> None:
        self.slow: Mapping[str, int] = slow or {}
        self.lost_before = 0
        self._limit = limit
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._decisions: OrderedDict[str, str] = OrderedDict()  # episodes by the ids of their decisions

    def __len__(self) -> int:
        return len(self._entries)

    # --- what the log says

    def add(self, seq: int, record: Record) -> None:
        """Any record of the log, with its number in it."""
        if isinstance(record, DecisionRecord):
            self.decided(seq, record)
        elif isinstance(record, EndRecord):
            self.ended(seq, record)
        elif isinstance(record, OutcomeRecord):
            self.outcome(seq, record)
        elif isinstance(record, ShadowRecord):
            self.shadowed(seq, record)
        elif isinstance(record, GapRecord):
            self.lost_before = seq

    def decided(self, seq: int, record: DecisionRecord, started: float | None = None) -> None:
        """A step was decided. `started`: when its episode began (seconds since the epoch), where that is known."""
        if record.unit is None:
            return
        entry = self._entries.get(record.episode) or self._open(seq, record, record.unit, started)
        tally, step = entry.tally, record.step
        tally.last = seq
        self._know(record.decision, record.episode)
        if record.forked or tally.ended:
            tally.fork()
        latest = tally.steps[-1][1] - 1 if tally.steps else -1
        if step <= latest and within(tally.steps, step):
            if step == latest and record.observation_digest == entry.digest:
                tally.found("repeated")
            elif not record.forked:
                tally.fork()
            return
        if step > latest:
            entry.digest = record.observation_digest
        mark(tally.steps, step)
        if step:
            add_told(tally, step - 1, record)
        self._count(tally, record)

    def ended(self, seq: int, record: EndRecord, started: float | None = None) -> None:
        """An episode ended."""
        if record.unit is None:
            return
        entry = self._entries.get(record.episode) or self._open(seq, record, record.unit, started)
        tally, step = entry.tally, record.step
        tally.last = seq
        if tally.ended:
            if (tally.ended, tally.length) != (record.ending, step):
                tally.fork()
            return
        if tally.steps and tally.steps[-1][1] > step:
            tally.fork()
        tally.ended, tally.length, tally.ended_at = record.ending, step, _seconds(record.timestamp)
        if step and not within(tally.rewarded, step - 1):
            add_told(tally, step - 1, record)
        elif not step and record.ending == "aborted":
            tally.failed += 1

    def outcome(self, seq: int, record: OutcomeRecord, started: float | None = None) -> None:
        """Something became known later."""
        episode = record.episode or self._decisions.get(record.decision or "")
        entry = self._entries.get(episode) if episode else None
        if entry is None:
            if record.episode is None or record.unit is None:
                return
            entry = self._open(seq, record, record.unit, started)
        tally = entry.tally
        tally.last = seq
        tally.final = tally.final or record.final
        reward, cost = record.reward or 0.0, record.cost or 0.0
        if record.id is not None:
            name = f"{record.decision}/{record.id}" if record.decision else record.id
            if name in tally.outcomes:
                return
            if len(tally.outcomes) < OUTCOMES_KNOWN:
                tally.outcomes[name] = [reward, cost]
        tally.late_reward += reward
        tally.late_cost += cost

    def shadowed(self, seq: int, record: ShadowRecord) -> None:
        """The candidate was asked beside stable, or was not, lest anybody wait."""
        entry = self._entries.get(record.episode)
        if entry is None:
            return
        tally, outcome = entry.tally, record.outcome
        tally.last = seq
        if (made := tally.shadow) is None:
            made = tally.shadow = Shadowed()
        if outcome == "dropped":
            made.dropped += 1
            return
        made.compared += outcome == "decided"
        made.agreed += record.agreed
        made.failed += outcome == "failed"
        made.invalid += outcome == "invalid"
        made.shielded += record.shield is not None
        for name, limit in self.slow.items():
            made.slow[name] = made.slow.get(name, 0) + (record.latency_us > limit)

    def found(self, episode: str, what: str) -> None:
        """Something odd about an episode, for its findings."""
        if (entry := self._entries.get(episode)) is not None:
            entry.tally.found(what)

    # --- what is asked

    def tallies(self, position: int) -> list[Tally]:
        """Those with a record after this position, the oldest first."""
        return [entry.tally for entry in self._entries.values() if entry.tally.last > position]

    def after(self, position: int) -> list[Part]:
        """As `tallies`, for those who send or score them."""
        return [tally.part() for tally in self.tallies(position)]

    def forget(self, upto: int, before: float) -> None:
        """Those without a record after `upto`, once they have ended, or began before this moment."""
        gone = [
            name
            for name, entry in self._entries.items()
            if entry.tally.last <= upto and (entry.tally.ended or entry.tally.started < before)
        ]
        for name in gone:
            del self._entries[name]

    def keep(self, rollouts: Iterable[str]) -> None:
        """Only those that were assigned for one of these."""
        kept = set(rollouts)
        for name in [n for n, e in self._entries.items() if rollout_of(e.tally.unit) not in kept]:
            del self._entries[name]

    # --- within

    def _open(
        self, seq: int, record: DecisionRecord | EndRecord | OutcomeRecord, unit: str, started: float | None
    ) -> _Entry:
        assert record.episode is not None, "an outcome opens a part by its episode"
        began = _micros(started) if started is not None else _seconds(record.timestamp)
        policy = rollout_of(unit).rpartition(".")[0] if record.arm == "candidate" else ""
        groups = record.groups if isinstance(record, DecisionRecord) else ()
        tally = Tally(record.episode, unit, record.arm, policy, began, seq, seq, groups=groups)
        entry = self._entries[record.episode] = _Entry(tally)
        if len(self._entries) > self._limit:
            _, lost = self._entries.popitem(last=False)
            self.lost_before = max(self.lost_before, lost.tally.last)
        return entry

    def _know(self, decision: str, episode: str) -> None:
        known = self._decisions
        known[decision] = episode
        if len(known) > DECISIONS_KNOWN:
            known.popitem(last=False)

    def _count(self, tally: Tally, record: DecisionRecord) -> None:
        tally.decided += 1
        if record.overridden:
            tally.overridden += 1
        elif record.regime == "Fallback":
            tally.failed += 1
        elif record.regime == "Limit":
            tally.found("limited")
        elif record.regime == "Policy":
            tally.policy = record.policy
        if record.shield is not None:
            tally.shielded += 1
        for name, limit in self.slow.items():
            tally.slow[name] = tally.slow.get(name, 0) + (record.latency_us > limit)


def fold(entries: Iterable[tuple[int, Record | None]], slow: Iterable[str] = ()) -> Parts:
    """The ledger by a stream's records with their numbers, all from its first. `slow`: as 5ms, from the gates."""
    parts = Parts(latencies(slow))
    for seq, record in entries:
        if record is not None:
            parts.add(seq, record)
    return parts


def latencies(names: Iterable[str]) -> dict[str, int]:
    """In microseconds, by name. Raises ValueError for what is none."""
    return {name: _LATENCY.validate_python(name) // _MICROSECOND for name in names}


def slow_names(strategy: Strategy | None) -> list[str]:
    """The latencies that a strategy's gates ask for."""
    gates = strategy.canary.gates if strategy and strategy.canary else []
    return sorted({_LATENCY.dump_python(gate.above, mode="json") for gate in gates if gate.above is not None})


def rollout_of(unit: str) -> str:
    """For which rollout a unit was assigned (judge.assignment.Unit, as text)."""
    return unit.split("/", 2)[1] if unit.count("/") > 1 else ""


def _micros(seconds: float) -> float:
    """As records tell times."""
    return int(seconds * 1_000_000) / 1_000_000


def _seconds(timestamp: str) -> float:
    """A record's time, seconds since the epoch."""
    return datetime.fromisoformat(timestamp).timestamp()
