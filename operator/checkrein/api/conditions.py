"""Conditions as a list map keyed by type (Kubernetes API conventions, "Typical status properties")."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from checkrein.api.meta import REASON_LIMIT, Condition, bounded


def get(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """The condition of this type, if there is one."""
    return next((c for c in conditions if c.type == type_), None)


def is_true(conditions: Iterable[Condition], type_: str) -> bool:
    """Absent and Unknown are not true."""
    found = get(conditions, type_)
    return found is not None and found.status == "True"


def put(
    conditions: Sequence[Condition],
    type_: str,
    status: bool | None,
    reason: str,
    message: str,
    *,
    generation: int,
    now: datetime,
) -> list[Condition]:
    """The list with this condition set; `lastTransitionTime` moves only when `status` does (None: Unknown).

    That time must stay put, or an unchanged status would be written again and again.
    """
    word = "Unknown" if status is None else str(status)
    old = get(conditions, type_)
    since = old.last_transition_time if old and old.status == word else now.replace(microsecond=0)
    new = Condition(
        type=type_,
        status=word,
        reason=bounded(reason, REASON_LIMIT),
        message=bounded(message),
        observed_generation=generation,
        last_transition_time=since,
    )
    return [new if c.type == type_ else c for c in conditions] if old else [*conditions, new]
