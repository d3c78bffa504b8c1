"""A wall clock that a test sets while a process runs by it: libfaketime, from Debian's package. Its monotonic clock
goes on undisturbed, as it does where NTP or a person sets a machine's clock.
"""

from __future__ import annotations

from pathlib import Path

from tests.cluster import debian
from tests.cluster.steps import ClusterError


class WallClock:
    """One clock. `env` is what a process that goes by it is started with."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)
        self.env = {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, seconds: int) -> None:
        """So many seconds ahead of the true time (negative: behind), at once."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}")
        new.rename(self._file)


def _library() -> Path:
    otherwise = "Clocks are set by libfaketime, which is fetched with apt-get: run this test on Debian or Ubuntu."
    found = sorted(debian.unpacked("libfaketime", otherwise).rglob("libfaketimeMT.so.1"))
    if not found:
        raise ClusterError("Debian's libfaketime package holds no libfaketimeMT.so.1")
    return found[0]
