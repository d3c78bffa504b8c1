"""What a client asks an agent: built once here for every transport, synchronous or not."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from checkrein.client.errors import InvalidRequestError

Ending = Literal["terminated", "truncated", "aborted"]

ACT = "/v1/act"
OUTCOMES = "/v1/outcomes"


@dataclass(frozen=True, slots=True)
class Request:
    """One message as JSON. `repeatable`: asking twice is asking once, so it may be sent again without an answer."""

    path: str
    content: str
    repeatable: bool
    method: str = "POST"


def act(
    observation: Any,
    episode: str | None = None,
    reward: float | None = None,
    cost: float | None = None,
    objective: float | None = None,
) -> Request:
    """Asks for an action. Raises InvalidRequestError for what JSON does not have.

    The same token's next step has one decision, however often it is asked for; the first step asked for twice leaves
    an episode that nobody goes on with.
    """
    told = {"observation": jsonable(observation), "episode": episode}
    return _request(ACT, told | _numbers(reward, cost, objective), repeatable=True)


def end(
    episode: str,
    ending: Ending,
    reward: float | None = None,
    cost: float | None = None,
    objective: float | None = None,
) -> Request:
    """Tells how an episode ended. Raises InvalidRequestError."""
    return _request(ACT, {"episode": episode, ending: True} | _numbers(reward, cost, objective), repeatable=True)


def outcome(
    *,
    episode: str | None = None,
    decision: str | None = None,
    reward: float | None = None,
    cost: float | None = None,
    objective: float | None = None,
    final: bool = False,
) -> Request:
    """Tells what became known later of an episode or of one decision. Raises InvalidRequestError.

    Outcomes add up, so one that may have arrived is not told again.
    """
    if episode is None and decision is None:
        raise InvalidRequestError("name the episode or the decision", problem="missing-field", field="episode")
    told: dict[str, Any] = {"episode": episode, "decision": decision, "final": True if final else None}
    return _request(OUTCOMES, told | _numbers(reward, cost, objective), repeatable=False)


def jsonable(observation: Any, field: str = "observation") -> Any:
    """An observation as JSON data. Raises InvalidRequestError for NaN and infinities, which JSON does not have."""
    if isinstance(observation, Mapping):
        return {str(key): jsonable(value, f"{field}.{key}") for key, value in observation.items()}
    array = np.asarray(observation)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidRequestError(f"{field} holds NaN or an infinity", problem="not-finite", field=field)
    return (array.astype(np.int8) if array.dtype.kind == "b" else array).tolist()


def _request(path: str, told: Mapping[str, Any], *, repeatable: bool) -> Request:
    content = {name: value for name, value in told.items() if value is not None}
    return Request(path, json.dumps(content, separators=(",", ":")), repeatable)


def _numbers(reward: float | None, cost: float | None, objective: float | None) -> dict[str, float | None]:
    told = {"reward": reward, "cost": cost, "objective": objective}
    return {name: None if value is None else _finite(name, value) for name, value in told.items()}


def _finite(name: str, value: float) -> float:
    if not math.isfinite(value):
        raise InvalidRequestError(f"{name} is NaN or an infinity", problem="not-finite", field=name)
    return float(value)
