"""Colours on a terminal, and nowhere else (https://no-color.org)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import IO

GOOD = frozenset({"Ready", "Succeeded", "Verified", "Healthy", "True"})
BAD = frozenset({"Failed", "Rejected", "Degraded", "missing"})
HELD = frozenset({"Overridden", "Paused"})
GREEN, RED, YELLOW, CYAN, DIM, OFF = "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[36m", "\x1b[2m", "\x1b[0m"
BAR = 20


class Style:
    """How words are shown. Without colours everything stays as it is."""

    def __init__(self, *, colours: bool = False) -> None:
        self._colours = colours

    @classmethod
    def of(cls, file: IO[str], environ: Mapping[str, str] = os.environ) -> Style:
        """Colours where the file is a terminal and nobody asked for none."""
        return cls(colours=file.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb")

    def phase(self, word: str) -> str:
        """A phase by what it means: good, bad, held by a person, or on its way."""
        colour = GREEN if word in GOOD else RED if word in BAD else YELLOW if word in HELD else CYAN
        return self._painted(colour, word)

    def dim(self, text: str) -> str:
        """What matters less."""
        return self._painted(DIM, text)

    def _painted(self, colour: str, text: str) -> str:
        return f"{colour}{text}{OFF}" if self._colours and text else text


def bar(percent: int) -> str:
    """`[#####---------------]  25 %`."""
    done = BAR * max(0, min(percent, 100)) // 100
    return f"[{'#' * done}{'-' * (BAR - done)}] {percent:3d} %"
