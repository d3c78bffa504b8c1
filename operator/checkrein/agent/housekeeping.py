"""What a replica does now and then, beside deciding."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from checkrein.agent.decisions import Decider
from checkrein.agent.keyring import Keyring, read, read_assignment
from checkrein.agent.state import State
from checkrein.api.deployment import Override

SWEEP_SECONDS = 5
KEYS_SECONDS = 30
log = logging.getLogger(__name__)


class Reins:
    """Notices when the override changes, its end included, and has that logged. Decisions do not wait for it."""

    def __init__(self, state: State, decider: Decider) -> None:
        self._state = state
        self._decider = decider
        self._last: Override | None = None

    def look(self) -> None:
        """To be called after each word, and every second: an override ends by itself."""
        now = self._state.override()
        if now == self._last:
            return
        self._last = now
        log.warning("override: %s", f"{now.mode} by {now.by}: {now.reason}" if now else "none any more")
        self._decider.overridden(now)


def renew(keyring: Keyring, folder: Path) -> None:
    """Take in the keys as they are mounted now; those at hand stay where that fails."""
    try:
        keyring.replace(read(folder), read_assignment(folder))
    except (OSError, ValueError) as error:
        log.warning("token keys cannot be read anew, those at hand stay: %s", error)


async def run(reins: Reins, decider: Decider, keyring: Keyring, folder: Path) -> None:
    """Never returns."""
    second = 0
    while True:
        await asyncio.sleep(1)
        second += 1
        reins.look()
        if second % SWEEP_SECONDS == 0:
            decider.sweep()
        if second % KEYS_SECONDS == 0:
            renew(keyring, folder)
