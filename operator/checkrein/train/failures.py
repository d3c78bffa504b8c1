"""How a part of an entry point gives up: one exception that carries the report's `Failure`."""

from __future__ import annotations

from checkrein.api.meta import bounded
from checkrein.api.tasks import Failure


class Failed(Exception):  # noqa: N818 - a verdict, caught once at the edge
    """Ends the entry point. `permanent`: another attempt would fail the same way."""

    def __init__(self, reason: str, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.failure = Failure(reason=reason, message=bounded(message), permanent=permanent)


def describe(error: BaseException) -> str:
    """An exception in one line, for a person."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
