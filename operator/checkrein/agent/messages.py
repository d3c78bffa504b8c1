"""The messages that callers send and get, and how bytes become one (msgspec).

Unknown fields are refused: they would be ignored.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

import msgspec

from checkrein.agent.problems import Problem, invalid
from checkrein.agent.validation import SpaceError, checker, json_type
from checkrein.api.spaces import Space
from checkrein.shield.arrays import Observation

Ending = Literal["terminated", "truncated", "aborted"]
ENDINGS: tuple[Ending, ...] = ("terminated", "truncated", "aborted")
Regime = Literal["Policy", "Fallback", "Pin", "Action", "Limit"]
OUTCOMES = ("reward", "cost", "objective")
OUTCOME_LIMIT = 64 * 1024
OUTCOME_ID_LENGTH = 64

ENVELOPE_BYTES = 16 * 1024
BYTES_PER_ELEMENT = 32  # "-1.2345678901234567e-308, " and room for white space
_MSGSPEC_MESSAGE = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<field>.*)`)?$", re.DOTALL)
_UNKNOWN_FIELD = re.compile(r"unknown field `(?P<field>.*)`", re.DOTALL)


class Act(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """A request. `reward`, `cost` and `objective` are those of the previous action; an ending needs no observation, and
    gets no action."""

    observation: Any = msgspec.UNSET
    reward: float | None = None
    cost: float | None = None
    objective: float | None = None
    episode: str | None = None
    terminated: bool = False
    truncated: bool = False
    aborted: bool = False

    @property
    def ending(self) -> Ending | None:
        """How the episode ended, if it did."""
        if self.terminated:
            return "terminated"
        if self.truncated:
            return "truncated"
        return "aborted" if self.aborted else None


class Decision(msgspec.Struct, frozen=True, gc=False):
    """An answer with an action. `episode` goes into the next request of this episode."""

    action: Any
    episode: str
    decision: str
    policy: str  # who decided; empty where one action was fixed beforehand
    regime: Regime = "Policy"
    explored: bool = False
    shielded: bool = False


class Ended(msgspec.Struct, frozen=True):
    """The answer to an ending, and to a step at which the shield ends the episode."""

    ended: Ending | Literal["shield"]
    steps: int
    policy: str


class Outcome(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What became known later of an episode or of one decision. `final`: nothing more will follow.

    Told again it counts once: the same `id` of the same episode or decision, or without one the same message.
    """

    episode: str | None = None
    decision: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")] | None = None
    reward: float | None = None
    cost: float | None = None
    objective: float | None = None
    final: bool = False
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=OUTCOME_ID_LENGTH)] | None = None


class Recorded(msgspec.Struct, frozen=True):
    """The answer to an outcome: it is in the log."""

    recorded: bool = True


encode = msgspec.json.Encoder().encode
_decode_outcome = msgspec.json.Decoder(Outcome).decode


def outcome(body: bytes) -> Outcome:
    """An outcome. Raises Problem, which names the field at fault."""
    try:
        told = _decode_outcome(body)
    except msgspec.ValidationError as error:
        raise wrong_shape(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise malformed(body, error) from error
    if (told.episode is None) == (told.decision is None):
        raise invalid("no-episode", "an outcome belongs to an episode or to a decision: set one of them", "episode")
    if not told.final and all(getattr(told, name) is None for name in OUTCOMES):
        raise invalid("missing-field", "an outcome has a reward, a cost or an objective, or is final", "reward")
    return told


class Reader:
    """Reads requests whose observations belong to one space."""

    def __init__(self, space: Space) -> None:
        request = msgspec.defstruct(
            "Act",
            [("observation", json_type(space) | msgspec.UnsetType, msgspec.UNSET)],
            bases=(Act,),
            forbid_unknown_fields=True,
            frozen=True,
            gc=False,
        )
        decoder: msgspec.json.Decoder[Act] = msgspec.json.Decoder(request)
        self._decode = decoder.decode
        self._check = checker(space)
        self._describe = space.describe()
        self.limit = ENVELOPE_BYTES + BYTES_PER_ELEMENT * space.size

    def request(self, body: bytes) -> Act:
        """The request. Raises Problem, which names the field at fault."""
        try:
            act = self._decode(body)
        except msgspec.ValidationError as error:
            raise wrong_shape(str(error), self._describe) from error
        except (ValueError, RecursionError) as error:
            raise malformed(body, error) from error
        return _consistent(act)

    def observation(self, act: Act) -> Observation:
        """The observation as an array of the space. Raises Problem."""
        if act.observation is msgspec.UNSET:
            raise invalid("missing-field", f"observation is missing; send one of {self._describe}", "observation")
        try:
            return self._check(act.observation)
        except SpaceError as error:
            field = f"observation{error.path}"
            raise invalid("out-of-space", f"{field}: {error}", field) from error


def wrong_shape(message: str, observations: str = "") -> Problem:
    """What msgspec says of a body, as a problem."""
    found = _MSGSPEC_MESSAGE.match(message)
    what, field = (found["what"], found["field"] or "") if found else (message, "")
    if unknown := _UNKNOWN_FIELD.search(message):
        return invalid("unknown-field", f"{message}; it would be ignored, leave it out", unknown["field"][:64])
    if observations and field.startswith("observation"):
        what += f"; observations belong to {observations}"
    return invalid("wrong-shape", f"{field or 'the body'}: {what}", field)


def _consistent(act: Act) -> Act:
    """What the types cannot say. Raises Problem."""
    if act.terminated + act.truncated + act.aborted > 1:
        raise invalid("two-endings", "an episode ends in one way: set one of " + ", ".join(ENDINGS), "terminated")
    if act.episode is not None:
        return act
    for name in OUTCOMES:
        if getattr(act, name) is not None:
            detail = f"{name} belongs to the previous action, so it needs the episode's token in episode"
            raise invalid("no-episode", detail, name)
    if act.ending is not None:
        raise invalid("no-episode", f"{act.ending} ends an episode, so it needs the episode's token", "episode")
    return act


def malformed(body: bytes, error: Exception) -> Problem:
    """Why a body is no JSON. Python's own encoder writes NaN and Infinity, so those get a name and a place."""
    field = _not_finite(body)
    if field is not None:
        return invalid("not-finite", f"{field}: NaN and infinities are no JSON numbers; send finite values", field)
    return invalid("malformed", f"the body is not JSON: {error!s:.200}")


class _NotFinite:
    """Stands for a NaN or an infinity in a parsed body."""


def _not_finite(body: bytes) -> str | None:
    """Path of the first NaN or infinity in what is otherwise JSON."""
    if b"NaN" not in body and b"Infinity" not in body:
        return None
    try:
        return _path(json.loads(body, parse_constant=lambda _: _NotFinite))
    except (ValueError, RecursionError):
        return None


def _path(value: Any, prefix: str = "") -> str | None:
    if value is _NotFinite:
        return prefix[:64] or "the body"
    if isinstance(value, dict):
        children = [(f"{prefix}.{key}" if prefix else key, child) for key, child in value.items()]
    elif isinstance(value, list):
        children = [(f"{prefix}[{i}]", child) for i, child in enumerate(value)]
    else:
        return None
    return next((found for path, child in children if (found := _path(child, path)) is not None), None)
