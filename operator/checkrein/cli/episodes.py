"""Episodes as an agent's decision log tells them, for a page. Pure but for the ledger that is asked."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from checkrein.api.recording import MOST_ELEMENTS, MOST_EPISODES, MOST_RETURNS, MOST_STEPS, Episode, Recording
from checkrein.cli.errors import Refusal
from checkrein.cli.ledger import Ledger, Query
from checkrein.cli.text import plural

Raw = dict[str, Any]
UNOBSERVED = "the log keeps digests of observations only; spec.decisionLog.observations: Full keeps them"
FEWER = f"the first {MOST_EPISODES} episodes are drawn; --episode NAME shows another"


@dataclass
class Logged:
    """One episode while it is read."""

    name: str
    rows: list[Raw] = field(default_factory=list)
    total: float = 0.0
    steps: int = 0

    def add(self, row: Raw, *, kept: bool) -> None:
        """A decision, with what was told of it later."""
        self.steps += 1
        self.total += reward_of(row) or 0.0
        if kept and self.steps <= MOST_STEPS:
            self.rows.append(row)


def told(ledger: Ledger, query: Query) -> tuple[Recording, list[tuple[str, str]]]:
    """Of the decisions that a query finds: the recording, and facts about all of them. Raises Refusal."""
    episodes: dict[str, Logged] = {}
    by: Counter[str] = Counter()
    flags: Counter[str] = Counter()
    for row in ledger.decisions(query):
        known = episodes.setdefault(row["episode"], Logged(row["episode"]))
        known.add(row, kept=len(episodes) <= MOST_EPISODES or bool(known.rows))
        by[row["policy"] or row.get("regime", "")] += 1
        flags.update(name for name, on in _flags(row) if on)
    if not episodes:
        raise Refusal("the log has no such decisions; `checkrein audit query` with the same options shows what it has")
    endings = {row["episode"]: row["ending"] for row in ledger.records(Query(kind="end", episode=query.episode))}
    shown = [_episode(e, endings.get(e.name, "open")) for e in episodes.values() if e.rows]
    remarks = [FEWER] if len(episodes) > len(shown) else []
    remarks += [UNOBSERVED] if all(row.get("observation") is None for e in episodes.values() for row in e.rows) else []
    recording = Recording(
        returns=[e.total for e in episodes.values()][:MOST_RETURNS],
        lengths=[e.steps for e in episodes.values()][:MOST_RETURNS],
        continuous=any(not element.is_integer() for e in shown for row in e.actions for element in row),
        episodes=shown,
        remarks=remarks,
    )
    return recording, list(_facts(len(episodes), by, flags))


def query_of(options: argparse.Namespace) -> Query:
    """What the options ask for."""
    return Query(episode=options.episode, policy=options.policy, since=options.since, until=options.until)


def reward_of(row: Raw) -> float | None:
    """At once and late together; None where nobody told any."""
    parts = [row[name] for name in ("reward", "late_reward") if row.get(name) is not None]
    return float(sum(parts)) if parts else None


def flat(value: Any) -> list[float]:
    """The numbers of a JSON value, members by name; none where something else is in it, or too many are."""
    found = list(_numbers(value))
    return [] if None in found or len(found) > MOST_ELEMENTS else [number for number in found if number is not None]


def _numbers(value: Any) -> Iterator[float | None]:
    if isinstance(value, dict):
        value = [value[name] for name in sorted(value)]
    if isinstance(value, list):
        for member in value:
            yield from _numbers(member)
    else:
        yield float(value) if isinstance(value, (int, float)) else None


def _episode(logged: Logged, ending: Any) -> Episode:
    observations = [flat(row.get("observation")) for row in logged.rows]
    actions = [flat(row["action"]) for row in logged.rows]
    return Episode(
        choice="logged",
        name=logged.name[:256],
        total=logged.total,
        observations=observations if all(observations) else [],
        actions=actions if all(actions) else [],
        rewards=[reward_of(row) for row in logged.rows],
        values=[row.get("q_value") for row in logged.rows],
        ending=ending if logged.steps <= MOST_STEPS else "cut",
    )


def _flags(row: Raw) -> Iterable[tuple[str, bool]]:
    return (
        ("explored", bool(row.get("exploration_flag"))),
        ("changed by a rule of the shield", bool(row.get("shield"))),
        ("limited", bool(row.get("limited"))),
        ("by a person's override", bool(row.get("overridden"))),
    )


def _facts(episodes: int, by: Counter[str], flags: Counter[str]) -> Iterator[tuple[str, str]]:
    decisions = by.total()
    yield "decisions", f"{decisions} in {plural(episodes, 'episode')}"
    yield "decided by", ", ".join(f"{who or 'nobody'}: {count}" for who, count in by.most_common(10))
    for flag, count in flags.most_common():
        yield flag, f"{count} ({100 * count / decisions:.1f} %)"
