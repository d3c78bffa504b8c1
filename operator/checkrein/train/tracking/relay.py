"""The trainer's end: a tracker's process, a pipe to it that never blocks, and what it says of itself."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from threading import Thread
from typing import Any

from checkrein.api.meta import bounded
from checkrein.api.tasks import Failure
from checkrein.api.tracking import TrackerName

PARTING_SECONDS, LAST_WORDS_SECONDS = 30.0, 4.0  # to take the last of it; where the pod must end
log = logging.getLogger(__name__)


class Relay:
    """Tells one tracker. Nothing here waits for it but `close`, and that for a bounded time."""

    def __init__(self, name: TrackerName) -> None:
        self.name = name
        self.failure: Failure | None = None
        """What the tracker does not do now."""

        command = [sys.executable, "-P", "-m", "checkrein.train.tracking", name]
        # A session of its own: what the tracker's library starts ends with it.
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin.fileno()
        os.set_blocking(self._pipe, False)
        self._ending = False
        self._listener = Thread(target=self._listen, daemon=True, name=f"tracker-{name}")
        self._listener.start()

    def tell(self, message: dict[str, Any]) -> None:
        """One line; lost where the process does not read, or has ended."""
        line = json.dumps(message).encode() + b"\n"
        if len(line) <= select.PIPE_BUF:  # so it is written as a whole or not at all (pipe(7))
            with suppress(BlockingIOError, BrokenPipeError):
                os.write(self._pipe, line)

    def close(self, *, trained: bool, seconds: float) -> None:
        """Lets it finish for `seconds`; ends it then."""
        end = time.monotonic() + seconds
        self._ending = True
        select.select([], [self._pipe], [], seconds)
        self.tell({"trained": trained})
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("%s did not take the last of it within %.0f s and is left behind", self.name, seconds)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._heard(json.loads(line)["failure"])
        if not self._ending:
            self._heard(
                f"its process ended with status {self._process.wait()}: nothing more of this attempt is recorded"
            )

    def _heard(self, failure: str | None) -> None:
        if failure is None:
            self.failure = None
            log.info("%s takes what it is told again", self.name)
        else:
            message = bounded(f"spec.tracking: {self.name}: {failure}")
            self.failure = Failure(reason="TrackerUnavailable", message=message)
            log.warning("training goes on; %s", message)


def part(relays: Sequence[Relay], *, trained: bool, hurried: bool) -> None:
    """Close all of them, side by side. One that is away is given no more time than one whose pod must end."""
    threads = []
    for relay in relays:
        seconds = LAST_WORDS_SECONDS if hurried or relay.failure else PARTING_SECONDS
        threads.append(Thread(target=relay.close, kwargs={"trained": trained, "seconds": seconds}))
        threads[-1].start()
    for thread in threads:
        thread.join()
