"""Rates and quantiles from two readings of a replica's metrics (Prometheus' text format). Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

PREFIX = "checkrein_agent_"
LATENCY = f"{PREFIX}decision_seconds_bucket"
Sums = Mapping[str, float]


@dataclass(frozen=True)
class Reading:
    """A moment (seconds of any clock), counters summed over their labels, and the latency histogram."""

    at: float
    counters: Sums
    latency: Mapping[float, float]
    """Upper bound (seconds) -> how many decisions took at most that long, since the start."""


@dataclass(frozen=True)
class Rates:
    """Of one replica between two readings."""

    decisions: float
    """In a second."""
    p50: float | None
    p99: float | None
    """Seconds; None where nothing was decided."""
    shielded: float
    limited: float
    refused: float
    log_lag: float
    """Records, now."""


def read(text: str, at: float) -> Reading:
    """Raises ValueError where the text is not in the format."""
    from prometheus_client.parser import text_string_to_metric_families

    counters: defaultdict[str, float] = defaultdict(float)
    latency: defaultdict[float, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == LATENCY:
                latency[float(sample.labels["le"])] += sample.value
            else:
                counters[sample.name.removeprefix(PREFIX)] += sample.value
    return Reading(at, counters, latency)


def between(first: Reading, second: Reading) -> Rates:
    """What happened in between. A counter that was set back (the process began anew) counts from 0."""
    seconds = max(second.at - first.at, 1e-9)

    def rate(name: str) -> float:
        return _grown(first.counters.get(name, 0.0), second.counters.get(name, 0.0)) / seconds

    buckets = {bound: _grown(first.latency.get(bound, 0.0), count) for bound, count in second.latency.items()}
    return Rates(
        decisions=rate("decisions_total"),
        p50=quantile(buckets, 0.5),
        p99=quantile(buckets, 0.99),
        shielded=rate("shielded_total"),
        limited=rate("limited_total"),
        refused=rate("refusals_total"),
        log_lag=second.counters.get("log_lag_records", 0.0),
    )


def _grown(before: float, after: float) -> float:
    return after - before if after >= before else after


def quantile(buckets: Mapping[float, float], q: float) -> float | None:
    """Interpolated within its bucket, as histogram_quantile of Prometheus does; None of an empty histogram."""
    total = max(buckets.values(), default=0.0)
    if not total:
        return None
    rank, below, lower = q * total, 0.0, 0.0
    for bound in sorted(buckets):
        if buckets[bound] >= rank:
            if math.isinf(bound):
                return lower
            inside = buckets[bound] - below
            return lower + (bound - lower) * ((rank - below) / inside if inside else 1.0)
        below, lower = buckets[bound], bound
    return lower
