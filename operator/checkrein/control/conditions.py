"""Shorthand for planners: a status with one condition more, and what its transitions tell people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar

from checkrein.api import conditions
from checkrein.api.meta import Condition, Model, ObjectMeta


class Conditioned(Protocol):
    """A status with conditions."""

    @property
    def conditions(self) -> list[Condition]: ...


S = TypeVar("S", bound=Model)


@dataclass(frozen=True)
class Writer:
    """Writes conditions of one object at one moment."""

    metadata: ObjectMeta
    now: datetime

    def put(self, status: S, type_: str, value: bool | None, reason: str, message: str, **fields: Any) -> S:
        """The status with this condition, these fields and the generation it speaks of."""
        listed = conditions.put(
            status.conditions,  # type: ignore[attr-defined]
            type_,
            value,
            reason,
            message,
            generation=self.metadata.generation,
            now=self.now,
        )
        return self.heeded(status.model_copy(update={"conditions": listed, **fields}))

    def heeded(self, status: S) -> S:
        """The status, said to speak of the object's generation."""
        return status.model_copy(update={"observed_generation": self.metadata.generation})


@dataclass(frozen=True)
class Transition:
    """A change worth an Event."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


_SILENT = frozenset({"Stalled", "Failed", "Suspended"})  # say again what Ready and Complete say
# Not True for these reasons is as it should be; for all others it is bad news.
_IN_ORDER = frozenset(
    {
        "Probing",
        "Training",
        "Suspended",
        "Queued",
        "Evaluating",
        "Publishing",
        "Complete",
        "ScaledToZero",
        "NoPolicy",
        "EnvironmentNotReady",
        "Loading",
        "NoReplicaRuns",
        "Overridden",
        "Stopped",
        "Expired",
        "Lifted",
        "Paused",
        "WaitingForPerson",
    }
)
# Here the message is news, too: who, why and until when.
_TOLD_IN_FULL = frozenset({"Overridden"})


def transitions(before: list[Condition], after: list[Condition]) -> list[Transition]:
    """One for each condition whose status or reason changed."""
    old = {c.type: _news(c) for c in before}
    return [
        Transition("Warning" if _is_bad(c) else "Normal", c.reason, c.message)
        for c in after
        if c.type not in _SILENT and old.get(c.type) != _news(c)
    ]


def _news(condition: Condition) -> tuple[str, str, str]:
    return condition.status, condition.reason, condition.message if condition.type in _TOLD_IN_FULL else ""


def _is_bad(condition: Condition) -> bool:
    return condition.status != "True" and condition.reason not in _IN_ORDER
