"""What a benchmark found: build/bench/NAME.json for programs, a table for people."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.cluster.cache import REPOSITORY

FOLDER = REPOSITORY / "build" / "bench"
LOAD_BEFORE = os.getloadavg()[0]  # of the last minute, when the benchmark began: others at work spoil its figures
QUIET = 0.5


@dataclass(frozen=True)
class Figure:
    """One number. `goal` reads like "<= 250"; without one it is only told. A name may be "who: what"."""

    name: str
    value: float | None
    unit: str
    goal: str | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the goal is met; a number that is missing meets none."""
        if self.goal is None:
            return None
        relation, _, bound = self.goal.partition(" ")
        if self.value is None:
            return False
        return self.value >= float(bound) if relation == ">=" else self.value <= float(bound)

    def dump(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self) | {"holds": self.holds}


def write(name: str, figures: Sequence[Figure], **more: Any) -> Path:
    """Writes the file, whole or not at all, and prints the figures."""
    document = {"figures": [f.dump() for f in figures], "machine": machine(), "commit": commit(), **more}
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    new = path.with_suffix(".new")
    new.write_text(json.dumps(document, indent=1) + "\n")
    new.rename(path)
    print(table(figures))
    if LOAD_BEFORE > QUIET:
        print(f"the machine was not quiet (load {LOAD_BEFORE:.1f}): these figures say little")
    print(f"written to {path}")
    return path


def read(name: str) -> dict[str, Any]:
    """What `write` wrote. Raises FileNotFoundError."""
    document: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return document


def table(figures: Sequence[Figure]) -> str:
    """One line for each figure."""
    verdicts = {True: "holds", False: "MISSED", None: ""}
    rows = [(f.name, number(f.value), f.unit, f.goal or "", verdicts[f.holds]) for f in figures]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def number(value: float | None) -> str:
    """With as many digits as mean something."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machine() -> dict[str, Any]:
    """What it ran on."""
    model = next((line.partition(": ")[2] for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = next(int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**20, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": LOAD_BEFORE,
    }


def commit() -> str:
    """The checkout's commit, marked where files differ from it."""
    found = _git("rev-parse", "HEAD")
    return found + ("-changed" if _git("status", "--porcelain") else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
