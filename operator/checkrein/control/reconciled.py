"""Condition Reconciled: False where the operator cannot do its work on an object, and no planner could say so.

It is written beside the status as it stands, on raw data: what cannot be read, or is not taken, must not keep it from
people. Not there where that never happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from checkrein.api import conditions
from checkrein.api.meta import REASON_LIMIT, Condition, Model, ObjectMeta, bounded
from checkrein.control.cluster import ApiError

Raw = dict[str, Any]
S = TypeVar("S", bound=Model)
RECONCILED = "Reconciled"


class Trouble(Exception):  # noqa: N818 - what keeps an object from being reconciled
    """Reason and sentence for the condition."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = bounded(message)


def read(model: type[S], obj: Mapping[str, Any]) -> S:
    """The object as a model. Raises Trouble that names the field that cannot be read."""
    try:
        return model.model_validate(obj)
    except ValidationError as error:
        raise _unreadable(obj["kind"], obj["metadata"]["name"], error) from error


def readable(model: type[S], objects: Iterable[Mapping[str, Any]]) -> list[S]:
    """Those that can be read: what is wrong with the others is told at themselves, and keeps nobody else."""
    found = []
    for obj in objects:
        try:
            found.append(model.model_validate(obj))
        except ValidationError:
            continue
    return found


def _unreadable(kind: str, name: str, error: ValidationError) -> Trouble:
    """An object that the API server has and our model refuses: written by hand, or by another release."""
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    return Trouble(
        "Unreadable",
        f"{field} of {kind} {name} cannot be read: {first['msg']}. Mend the field, or install the operator and the "
        "CRDs of one release",
    )


def refused(error: ApiError) -> Trouble:
    """A status that the API server does not take."""
    return Trouble(
        "StatusRefused",
        f"the API server does not take the status that follows ({error.status} {error.reason}: "
        f"{bounded(error.message, 512)}). What stands here is how it was before. Look for admission policies "
        "of yours on this resource, or install the operator and the CRDs of one release",
    )


def faulty(error: Exception) -> Trouble:
    """A fault of ours."""
    return Trouble(
        "InternalError",
        f"the operator failed ({type(error).__name__}: {bounded(str(error), 256)}) and tries again. This is a fault of "
        "Checkrein; its log has the details",
    )


def is_refusal(error: ApiError) -> bool:
    """Whether it is the status' content that the API server does not take, now and when asked again."""
    # A field that the installed schema does not have is the applying's failure, not the client's: 500.
    unknown = "not declared in schema" in error.message
    return error.status in (400, 413, 422) or (error.status == 500 and unknown)


def noted(obj: Mapping[str, Any], trouble: Trouble, now: datetime) -> Raw:
    """The object's status as it stands, and this condition."""
    status = dict(obj.get("status") or {})
    listed = [c for c in status.get("conditions") or () if isinstance(c, dict)]
    old = next((c for c in listed if c.get("type") == RECONCILED), None)
    since = (
        old["lastTransitionTime"] if old and old.get("status") == "False" else now.replace(microsecond=0).isoformat()
    )
    new = {
        "type": RECONCILED,
        "status": "False",
        "reason": bounded(trouble.reason, REASON_LIMIT),
        "message": trouble.message,
        "observedGeneration": obj["metadata"].get("generation", 0),
        "lastTransitionTime": since,
    }
    status["conditions"] = [new if c is old else c for c in listed] + ([] if old else [new])
    return status


def is_news(obj: Mapping[str, Any], trouble: Trouble) -> bool:
    """Whether the condition does not say so yet."""
    listed = (obj.get("status") or {}).get("conditions") or ()
    old = next((c for c in listed if isinstance(c, dict) and c.get("type") == RECONCILED), None)
    return old is None or (old.get("status"), old.get("reason")) != ("False", trouble.reason)


def recovered(status: S, metadata: ObjectMeta, now: datetime) -> S:
    """The status; where it says that the object could not be reconciled, it says that it can be again."""
    listed: list[Condition] = status.conditions  # type: ignore[attr-defined]
    found = conditions.get(listed, RECONCILED)
    if found is None or found.status == "True":
        return status
    put = conditions.put(
        listed, RECONCILED, True, RECONCILED, "the operator goes on", generation=metadata.generation, now=now
    )
    return status.model_copy(update={"conditions": put})
