"""What the operator says of itself to Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

RECONCILE_SECONDS = Histogram(
    "checkrein_reconcile_duration_seconds",
    "Time of one pass over one object.",
    ["kind"],
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
)
RECONCILES = Counter("checkrein_reconciles_total", "Passes over objects by outcome.", ["kind", "outcome"])
QUEUE = Gauge("checkrein_queue_objects", "Objects with a date to be looked at.")
EVENTS = Counter("checkrein_watch_events_total", "Watch events that brought news.", ["kind"])
RESYNCS = Counter("checkrein_resyncs_total", "Comparisons of all kinds with a list.")
MISSED = Counter("checkrein_missed_changes_total", "Changes that a list told of before a watch did.", ["kind"])
