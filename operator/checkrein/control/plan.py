"""What a planner returns, and how it asks.

A planner is a pure function. What only the world can tell (a store, a trainer's progress) it asks for with a
`Request`; where the answer is not there yet, asking raises `Unanswered`, the shell finds the answer and calls
the planner again from its start. Requests that write (reserve, publish) are idempotent, so asking twice is the
same as asking once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, TypeVar

from checkrein.api.meta import Model
from checkrein.control.conditions import Transition

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Request(Generic[T_co]):
    """A question to the world; the type parameter is the answer's. Equal requests have equal answers."""


class Unanswered(Exception):  # noqa: N818 - a signal to the shell, not an error
    """The planner needs these answers before it can go on."""

    def __init__(self, requests: tuple[Request[Any], ...]) -> None:
        super().__init__(requests)
        self.requests = requests


class Unavailable(Exception):  # noqa: N818 - named after what a condition will say
    """The world could not answer. Temporary: asking again later may help; else the answer is no."""

    def __init__(self, reason: str, message: str, *, temporary: bool = True) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.temporary = temporary


@dataclass
class Answers:
    """What the world has said so far in this pass."""

    known: dict[Request[Any], Any] = field(default_factory=dict)

    def ask(self, request: Request[T]) -> T:
        """The answer. Raises Unanswered where there is none yet, Unavailable where the world failed to give one."""
        if request not in self.known:
            raise Unanswered((request,))
        answer: Any = self.known[request]
        if isinstance(answer, Unavailable):
            raise answer
        return answer  # type: ignore[no-any-return]

    def ask_all(self, requests: tuple[Request[T], ...]) -> dict[Request[T], T | Unavailable]:
        """All answers at once, failures among them. Raises Unanswered where any is missing."""
        if missing := tuple(r for r in requests if r not in self.known):
            raise Unanswered(missing)
        return {r: self.known[r] for r in requests}


@dataclass(frozen=True)
class Reference:
    """An object to delete: this one, and no namesake."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True)
class Plan:
    """What to do, in this order: create, apply, delete, then the status, once, then events for its transitions.

    `create` must not overwrite: an existing object of this owner is met, somebody else's is an error.
    `status` is the whole status; None leaves it as it is. `news` are events beside those of its conditions, told if
    the status was written. `after` is when to look again, if nothing happens before.
    """

    status: Model | None = None
    create: tuple[Manifest, ...] = ()
    apply: tuple[Manifest, ...] = ()
    delete: tuple[Reference, ...] = ()
    news: tuple[Transition, ...] = ()
    after: timedelta | None = None


Planner = Callable[[Any, Any, Answers, Any], Plan]
