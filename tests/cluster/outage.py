"""How long what is taken away stays away: as long as a test needs, or real minutes (`make test-outages`)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

SECONDS = float(os.environ.get("CHECKREIN_OUTAGE_SECONDS", "0"))
PACE = 1.0


class Outage:
    """Begins when it is made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def last(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Returns once it has lasted long enough; `meanwhile` is done once in a second."""
        while time.monotonic() - self._began < SECONDS:
            meanwhile()
            time.sleep(PACE)
