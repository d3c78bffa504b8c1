"""When a request is asked again, and after how long. Pure: the callers sleep, each in its own way."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from checkrein.client.errors import AgentError, NotReadyError, UnreachableError
from checkrein.client.messages import Request

FIRST_DELAY, LAST_DELAY = 0.1, 5.0


class Patience:
    """One request's tries within `wait` seconds."""

    def __init__(
        self,
        request: Request,
        wait: float,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._request = request
        self._clock, self._draw = clock, draw
        self._deadline = clock() + wait
        self._delay = FIRST_DELAY

    def pause(self, error: AgentError) -> float:
        """Seconds until the next try. Raises the error itself where there is none."""
        pause = max(error.retry_after, self._delay * self._draw(0.5, 1.0))
        if not self._again(error) or self._clock() + pause > self._deadline:
            raise error
        self._delay = min(self._delay * 2, LAST_DELAY)
        return pause

    def _again(self, error: AgentError) -> bool:
        if isinstance(error, UnreachableError):
            return self._request.repeatable or not error.decided
        return isinstance(error, NotReadyError)
