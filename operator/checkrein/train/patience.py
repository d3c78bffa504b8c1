"""A store that is away for minutes costs minutes, and no attempt: what was trained stays in memory until it is back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from checkrein.api.tasks import Failure
from checkrein.store.errors import StoreError

T = TypeVar("T")
PATIENCE_SECONDS = 900.0
FIRST_PAUSE, LAST_PAUSE = 1.0, 15.0
TICK = 0.5  # how soon a request to end is heard
log = logging.getLogger(__name__)


def told_of(error: StoreError) -> Failure:
    """The store's trouble, as a report tells it."""
    return Failure(reason=error.reason, message=f"store: {error}")


def patiently(
    work: Callable[[], T],
    told: Callable[[Failure | None], None] = lambda failure: None,
    ended: Callable[[], None] = lambda: None,
    seconds: float = PATIENCE_SECONDS,
) -> T:
    """Does `work` again for as long as the store fails in a way that may pass. Raises StoreError in the end.

    `told` hears what keeps it, and None when that is over; `ended` raises where there is no time to wait.
    """
    deadline, pause = time.monotonic() + seconds, FIRST_PAUSE
    while True:
        try:
            result = work()
        except StoreError as error:
            if not error.temporary or time.monotonic() > deadline:
                raise
            log.warning("trying again in %.0f s: %s", pause, error)
            told(told_of(error))
        else:
            told(None)
            return result
        _sleep(pause, ended)
        pause = min(pause * 2, LAST_PAUSE)


def _sleep(seconds: float, ended: Callable[[], None]) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        ended()
        time.sleep(min(left, TICK))
