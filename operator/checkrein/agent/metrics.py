"""What Prometheus reads. Label values come from closed sets or from the few policies in memory, never from callers."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# Seconds. A decision takes tens of microseconds; what lies above a millisecond is already worth a look.
LATENCY_BUCKETS = (
    *(50e-6, 100e-6, 200e-6, 400e-6, 800e-6),
    *(1.5e-3, 3e-3, 6e-3, 12e-3, 25e-3, 50e-3, 100e-3, 250e-3, 1.0, 4.0),
)
OUTCOMES = ("decided", "failed")


@dataclass(frozen=True)
class PolicyMeters:
    """Bound children: looking labels up for each decision would cost more than the decision's own arithmetic."""

    decided: Counter
    failed: Counter
    latency: Histogram


class Metrics:
    """A replica's metrics, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        common: dict[str, Any] = {"registry": self.registry, "namespace": "checkrein_agent"}
        self._decisions = Counter("decisions", "Decisions.", ["policy", "outcome"], **common)
        self._latency = Histogram(
            "decision_seconds",
            "From a request's last byte to its answer's first.",
            ["policy"],
            buckets=LATENCY_BUCKETS,
            **common,
        )
        self._refusals = Counter("refusals", "Requests answered with a problem, by its type.", ["problem"], **common)
        self._endings = Counter("episodes_ended", "Episodes that callers ended, by how.", ["ending"], **common)
        self.loaded = Gauge("policies_loaded", "Policies in memory.", **common)
        self.epoch = Gauge("epoch", "Epoch of the deployment that is acted on.", **common)
        self.watch_age = Gauge("watch_age_seconds", "Since the API server was last heard.", **common)
        self._meters: dict[str, PolicyMeters] = {}

    def policy(self, name: str) -> PolicyMeters:
        """The meters of one policy."""
        if (meters := self._meters.get(name)) is None:
            decided, failed = (self._decisions.labels(name, outcome) for outcome in OUTCOMES)
            meters = self._meters[name] = PolicyMeters(decided, failed, self._latency.labels(name))
        return meters

    def keep(self, names: Iterable[str]) -> None:
        """Drop the series of policies that are no longer in memory."""
        for name in self._meters.keys() - set(names):
            del self._meters[name]
            self._latency.remove(name)
            for outcome in OUTCOMES:
                self._decisions.remove(name, outcome)

    def refused(self, problem: str) -> None:
        """A request was answered with a problem."""
        self._refusals.labels(problem).inc()

    def ended(self, ending: str) -> None:
        """A caller ended an episode."""
        self._endings.labels(ending).inc()


class Contact:
    """When the API server was last heard, by the monotonic clock."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def heard(self) -> None:
        """Just now."""
        self._last = time.monotonic()

    def age(self) -> float:
        """Seconds since."""
        return time.monotonic() - self._last
