"""When the last answer of a version came, and how long a bench waits to be sure of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from tests.bench.report import Figure
from tests.bench.rollout_load import Load, last
from tests.cluster.steps import ClusterError, wait_until

MARGIN = 0.1  # by which share of the range of returns a candidate may be worse
QUIET = 2.0
_rng = random.Random(0)


class UnendingError(ClusterError):
    """A version goes on answering."""


@dataclass
class Times:
    """Seconds, one for each repetition; answers heard meanwhile, those that failed, and what never ended."""

    seconds: list[float] = field(default_factory=list)
    answers: int = 0
    failed: list[str] = field(default_factory=list)
    unending: int = 0
    loads: int | None = None  # policies that replicas brought into memory meanwhile

    def add(self, began: float, ended: float | None) -> None:
        """`ended`: of the last answer; None where there was none after `began`."""
        self.seconds.append(0.0 if ended is None else max(0.0, ended - began))

    def heard(self, load: Load, since: int = 0, failed: int = 0) -> None:
        """Counts answers and failures from these numbers on."""
        self.answers += len(load.heard) - since
        self.failed += load.failed[failed:]

    def figures(self, who: str, *, unit: str = "s", goal: str | None = None, failures: bool = True) -> list[Figure]:
        """A row of a table. The goals: of p99, and that no request fails."""
        scale = 1000.0 if unit == "ms" else 1.0
        found = [
            Figure(f"{who}: p{share}", self._percentile(share, scale), unit, goal if share == 99 else None)
            for share in (50, 99)
        ]
        found.append(Figure(f"{who}: max", self._percentile(100, scale), unit))
        found.append(Figure(f"{who}: times", len(self.seconds), ""))
        if failures:
            found.append(Figure(f"{who}: answers", self.answers, ""))
            found.append(Figure(f"{who}: failed answers", len(self.failed), "", "<= 0" if goal else None))
        if self.loads is not None:
            found.append(Figure(f"{who}: loads", self.loads, ""))
        if self.unending:
            found.append(Figure(f"{who}: did not end", self.unending, "times", "<= 0" if goal else None))
        return found

    def _percentile(self, share: float, scale: float) -> float | None:
        if not self.seconds or self.unending:  # what did not end is longer than any percentile
            return None
        return scale * float(np.percentile(self.seconds, share))


def quiet_since(load: Load, who: str, began: float, patience: float) -> float | None:
    """When this version answered last, once it has been silent for `QUIET` seconds while others were heard; None where
    it has not answered since `began`. Raises UnendingError after `patience` seconds, ClusterError where nobody answers.
    """

    def silent() -> bool:
        ended = max(last(load.heard, who) or began, began)
        return load.heard[-1].at - ended >= QUIET

    def otherwise() -> ClusterError:
        if time.monotonic() - load.heard[-1].at > QUIET:
            return ClusterError(f"nobody answers; last failures: {load.failed[-3:]}")
        return UnendingError(f"{who} still answers after {patience:.0f} s")

    wait_until(silent, patience, otherwise=otherwise)
    ended = last(load.heard, who)
    return ended if ended is not None and ended > began else None


def moment(least: float, most: float) -> None:
    """Waits for a random time between these, in seconds."""
    time.sleep(_rng.uniform(least, most))


def until(holds: Callable[[], bool], patience: float, otherwise: str, error: type[ClusterError] = ClusterError) -> None:
    """Waits. Raises `error` with this sentence."""
    wait_until(holds, patience, otherwise=lambda: error(f"{otherwise} after {patience:.0f} s"))
