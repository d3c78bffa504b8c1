"""What Prometheus reads. Label values come from closed sets, the spec and policies in memory, never from callers."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from checkrein.agent.execution import Execution
from checkrein.store.metering import StoreMetrics

# Seconds. A decision takes tens of microseconds; what lies above a millisecond is already worth a look.
LATENCY_BUCKETS = (
    *(50e-6, 100e-6, 200e-6, 400e-6, 800e-6),
    *(1.5e-3, 3e-3, 6e-3, 12e-3, 25e-3, 50e-3, 100e-3, 250e-3, 1.0, 4.0),
)
LENGTH_BUCKETS = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 100_000)
OUTCOMES = ("decided", "failed")
POLICY_REGIMES = ("Policy", "Fallback", "Pin")
FIXED_REGIMES = ("Fallback", "Action", "Limit")
ARMS = ("stable", "candidate")


@dataclass(slots=True)
class PolicyMeters:
    """Plain numbers: a Counter and a Histogram of Prometheus's library would take 5 us of each decision."""

    decided: dict[str, int]
    failed: dict[str, int]
    explored: int = 0
    seconds: float = 0.0
    within: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BUCKETS) + 1))
    """Decisions by the bucket of their latency, the last without an end."""

    def count(self, execution: Execution, seconds: float) -> None:
        """A decision was answered after so long."""
        self.decided[execution.regime] += 1
        self.explored += execution.explored
        self.seconds += seconds
        self.within[bisect_left(LATENCY_BUCKETS, seconds)] += 1


class Metrics:
    """A replica's metrics, in a registry of its own. `policy` is empty for actions that were fixed beforehand."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        common: dict[str, Any] = {"registry": self.registry, "namespace": "checkrein_agent"}
        self._shielded = Counter("shielded", "Actions that the shield changed or stopped.", ["rule"], **common)
        self.limited = Counter("limited", "Requests for more decisions than spec.limits grants.", **common)
        self.unexplored = Counter(
            "unexplored", "Explorations given up because the log could not be made durable.", **common
        )
        self._refusals = Counter("refusals", "Requests answered with a problem, by its type.", ["problem"], **common)
        self._endings = Counter("episodes_ended", "Episodes that ended, by how.", ["ending"], **common)
        self._return = Histogram(
            "episode_return",
            "Sum of the rewards of an episode that was played here from its start to its end.",
            buckets=(-1000, -300, -100, -30, -10, -3, -1, 0, 1, 3, 10, 30, 100, 300, 1000),
            **common,
        )
        self._length = Histogram("episode_decisions", "Decisions in an episode.", buckets=LENGTH_BUCKETS, **common)
        self.ready = Gauge("ready", "1 while callers should come here.", **common)
        self._acting = Gauge(
            "acting", "1 for the policy that decides now, and why it does.", ["policy", "regime"], **common
        )
        self.loaded = Gauge("policies_loaded", "Policies in memory.", **common)
        self.epoch = Gauge("epoch", "Epoch of the deployment that is acted on.", **common)
        self.overridden = Gauge("overridden", "1 while a person decides who acts.", **common)
        self.override_ends = Gauge(
            "override_ends_timestamp_seconds",
            "When the override ends by itself, Unix time; 0 where there is none, or it has no end.",
            **common,
        )
        self.watch_age = Gauge("watch_age_seconds", "Since the API server was last heard.", **common)
        self.log_healthy = Gauge("log_healthy", "1 while the decision log can be written.", **common)
        self.log_lag = Gauge("log_lag_records", "Records that are not yet there.", ["place"], **common)
        self.log_storing = Gauge("log_storing", "1 while the store takes the decision log.", **common)
        self.log_waiting = Gauge("log_waiting_bytes", "On the disk, sealed, and not in the store yet.", **common)
        self.counted = Counted()
        self.registry.register(self.counted)
        self.store = StoreMetrics(self.registry)
        ProcessCollector(registry=self.registry)
        self._shadow = Counter(
            "shadow", "Decisions that were offered to a candidate in the shadow, by outcome.", ["outcome"], **common
        )
        self._meters: dict[str, dict[str, PolicyMeters]] = {arm: {} for arm in ARMS}
        self.registry.register(Decided(self._meters))
        self._rules: dict[str, Counter] = {}

    def policy(self, name: str, arm: str = "stable") -> PolicyMeters:
        """The meters of one policy that acts in episodes of this arm."""
        of_arm = self._meters[arm]
        if (meters := of_arm.get(name)) is None:
            regimes = _regimes(name)
            meters = of_arm[name] = PolicyMeters(dict.fromkeys(regimes, 0), dict.fromkeys(regimes, 0))
        return meters

    def keep(self, names: Iterable[str]) -> None:
        """Drop the series of policies that are no longer in memory."""
        kept = {"", *names}
        for meters in self._meters.values():
            for name in meters.keys() - kept:
                del meters[name]

    def acts(self, policy: str, regime: str) -> None:
        """Who decides now; empty words where nobody does."""
        self._acting.clear()
        if regime:
            self._acting.labels(policy, regime).set(1)

    def shielded(self, rule: str) -> None:
        """A rule changed or stopped an action."""
        if (counter := self._rules.get(rule)) is None:
            counter = self._rules[rule] = self._shielded.labels(rule)
        counter.inc()

    def shadowed(self, outcome: str) -> None:
        """A decision was offered to a candidate: agreed, differed, failed, invalid or dropped."""
        self._shadow.labels(outcome).inc()

    def refused(self, problem: str) -> None:
        """A request was answered with a problem."""
        self._refusals.labels(problem).inc()

    def ended(self, ending: str, returned: float | None, decisions: int) -> None:
        """An episode ended after so many decisions; `returned` where all of it was seen here."""
        self._endings.labels(ending).inc()
        self._length.observe(decisions)
        if returned is not None:
            self._return.observe(returned)


def _regimes(policy: str) -> tuple[str, ...]:
    """In which capacities a policy may act, or an action that was fixed beforehand."""
    return POLICY_REGIMES if policy else FIXED_REGIMES


class Decided(Collector):
    """What the meters of all policies say, by arm and name; of both arms together where the arm does not matter."""

    def __init__(self, meters: Mapping[str, Mapping[str, PolicyMeters]]) -> None:
        self._meters = meters

    def collect(self) -> Iterator[Metric]:
        """As Prometheus asks."""
        decisions = CounterMetricFamily(
            "checkrein_agent_decisions", "Decisions.", labels=["arm", "policy", "regime", "outcome"]
        )
        for arm, of_arm in self._meters.items():
            for name, meters in of_arm.items():
                for outcome, counts in zip(OUTCOMES, (meters.decided, meters.failed), strict=True):
                    for regime, count in counts.items():
                        decisions.add_metric([arm, name, regime, outcome], count)
        yield decisions
        explored = CounterMetricFamily("checkrein_agent_explored", "Decisions that explored.", labels=["policy"])
        latency = HistogramMetricFamily(
            "checkrein_agent_decision_seconds", "From a request's last byte to its answer's first.", labels=["policy"]
        )
        for name in sorted(set().union(*self._meters.values())):
            both = [of_arm[name] for of_arm in self._meters.values() if name in of_arm]
            explored.add_metric([name], sum(meters.explored for meters in both))
            within = accumulate(map(sum, zip(*(meters.within for meters in both), strict=True)))
            ends = map(floatToGoString, (*LATENCY_BUCKETS, math.inf))
            latency.add_metric([name], list(zip(ends, within, strict=True)), sum(meters.seconds for meters in both))
        yield explored
        yield latency


class Counted(Collector):
    """Counters that others keep: they are read when Prometheus asks."""

    def __init__(self) -> None:
        self.shield_errors: dict[str, int] = {}
        self.log_lost = 0

    def collect(self) -> Iterator[CounterMetricFamily]:
        """As Prometheus asks."""
        errors = CounterMetricFamily(
            "checkrein_agent_shield_errors", "Evaluations of a rule's expression that failed, by rule.", labels=["rule"]
        )
        for rule, count in sorted(self.shield_errors.items()):
            errors.add_metric([rule], count)
        yield errors
        lost = "Records that could not be kept; each gap is in the log."
        yield CounterMetricFamily("checkrein_agent_log_lost_records", lost, value=self.log_lost)


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
