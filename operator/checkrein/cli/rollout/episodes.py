"""Episodes as the decision log kept them, without a word of who decided."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from checkrein.cli.ledger import Ledger, Query
from checkrein.store.decisions.findings import Entry
from checkrein.store.decisions.records import OutcomeRecord
from checkrein.store.decisions.sources import Source
from checkrein.store.decisions.verify import Audit

ELEMENTS = 16
"""Of an observation or action, so that an image does not fill the screen."""


@dataclass(frozen=True)
class Step:
    """One decision. `observation` empty: only its digest was kept."""

    number: int
    observation: str
    action: str
    reward: float | None


@dataclass(frozen=True)
class Episode:
    """`ending` empty: the log does not tell of its end."""

    steps: tuple[Step, ...] = ()
    ending: str = ""
    late: float | None = None

    @property
    def total(self) -> float:
        """The return: all rewards that were told, late ones included."""
        return sum(step.reward or 0.0 for step in self.steps) + (self.late or 0.0)


def read(source: Source, agent_id: str, wanted: Collection[str]) -> tuple[Mapping[str, Episode], list[str]]:
    """The episodes by id, and what of the log could not be proved. Raises StoreError, SourceError."""
    audit = Audit(source, agent_id=agent_id)
    with Ledger(_only(audit.entries(), wanted)) as ledger:
        found = {episode: _episode(ledger, episode) for episode in wanted}
    return found, [f"{f.code}: {f.message}" for f in audit.findings if f.severity == "error"]


def _only(entries: Iterator[Entry], wanted: Collection[str]) -> Iterator[Entry]:
    """What is about these episodes. An outcome may name a decision alone."""
    for entry in entries:
        episode = getattr(entry.record, "episode", None)
        if episode in wanted or (episode is None and isinstance(entry.record, OutcomeRecord)):
            yield entry


def _episode(ledger: Ledger, episode: str) -> Episode:
    rows = sorted(ledger.decisions(Query(episode=episode)), key=lambda row: int(row["step"]))
    ends = list(ledger.records(Query(kind="end", episode=episode)))
    late = [row["late_reward"] for row in rows if row["late_reward"] is not None]
    return Episode(
        steps=tuple(
            Step(row["step"], _text(row.get("observation")), _text(row["action"]), row["reward"]) for row in rows
        ),
        ending=ends[-1]["ending"] if ends else "",
        late=sum(late) if late else None,
    )


def _text(value: Any) -> str:
    """As JSON, numbers in four digits; a long list is cut."""
    return "" if value is None else json.dumps(_short(value), separators=(", ", ": "), ensure_ascii=False)


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _short(child) for key, child in value.items()}
    if isinstance(value, list):
        shown: list[Any] = [_short(child) for child in value[:ELEMENTS]]
        return [*shown, f"... {len(value) - ELEMENTS} more"] if len(value) > ELEMENTS else shown
    return value
