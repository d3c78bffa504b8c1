"""A process's requests to the store, for Prometheus: in operator, trainer and agent by the same names.

The one module of this package that knows the metrics library; whoever has no metrics does not import it.
"""

from __future__ import annotations

import math

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from checkrein.store.errors import StoreError, StoreUnavailable

BUCKETS = (0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60)


class StoreMetrics:
    """`observe` is a `checkrein.store.observing.Observer`. Thread-safe."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "checkrein_store_request_duration_seconds",
            "Time of one request to the store, retries within the S3 client included.",
            ["operation"],
            buckets=BUCKETS,
            registry=registry,
        )
        self._errors = Counter(
            "checkrein_store_request_errors",
            "Requests to the store that failed, by reason. AlreadyExists and NotFound are answers, too.",
            ["operation", "reason"],
            registry=registry,
        )
        self._reachable = Gauge(
            "checkrein_store_reachable",
            "1 where the store answered the latest request, 0 where it did not; NaN before the first.",
            registry=registry,
        )
        self._reachable.set(math.nan)

    def observe(self, operation: str, seconds: float, error: StoreError | None) -> None:
        """One request ended."""
        self._seconds.labels(operation).observe(seconds)
        self._errors.labels(operation, StoreUnavailable.reason)  # from 0 on, so that the first one is a rise
        self._reachable.set(not isinstance(error, StoreUnavailable))
        if error is not None:
            self._errors.labels(operation, error.reason).inc()
