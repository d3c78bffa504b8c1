"""What the operator says of its own work to Prometheus. What it says of the resources: `resource_metrics.py`."""

from __future__ import annotations

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Info

from checkrein import __version__
from checkrein.control.cache import Key
from checkrein.control.kinds import CHILDREN, OWN
from checkrein.store.metering import StoreMetrics

BUILD = Info("checkrein_build", "The operator's version.")
BUILD.info({"version": __version__})
RECONCILE_SECONDS = Histogram(
    "checkrein_reconcile_duration_seconds",
    "Time of one pass over one object.",
    ["kind"],
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
)
RECONCILES = Counter("checkrein_reconciles_total", "Passes over objects by outcome.", ["kind", "outcome"])
REFUSALS = Counter("checkrein_refused_writes_total", "Writes whose content the API server refused.", ["kind", "what"])
QUEUE = Gauge("checkrein_queue_objects", "Objects with a date to be looked at.")
OVERDUE = Gauge("checkrein_queue_overdue_objects", "Objects whose date has come and whose turn has not.")
QUEUE_WAIT = Histogram(
    "checkrein_queue_wait_seconds",
    "From when an object fell due to when a worker took it.",
    ["kind"],
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100),
)
CACHED = Gauge("checkrein_cached_objects", "Objects that are kept in memory, children included.")
EVENTS = Counter("checkrein_watch_events_total", "Watch events that brought news.", ["kind"])
RESYNCS = Counter("checkrein_resyncs_total", "Comparisons of all kinds with a list.")
RESYNC_SECONDS = Histogram(
    "checkrein_resync_duration_seconds",
    "Time of one comparison of all kinds with a list.",
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100),
)
RESYNC_ERRORS = Counter("checkrein_resync_errors_total", "Comparisons with a list that failed.")
MISSED = Counter("checkrein_missed_changes_total", "Changes that a list told of before a watch did.", ["kind"])
for _kind in (*OWN, *CHILDREN):
    MISSED.labels(_kind.kind)  # from 0 on: a counter that appears with its first change shows no rise
LEADER = Gauge("checkrein_leader", "1 while this operator leads, or is the only one.")
API_SECONDS = Histogram(
    "checkrein_apiserver_request_duration_seconds",
    "Time of one request to the API server, watches apart.",
    ["method"],
    buckets=(0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
)
API_REQUESTS = Counter(
    "checkrein_apiserver_requests_total",
    "Requests to the API server by status code, watches apart; code 0: no answer.",
    ["method", "code"],
)
STORE = StoreMetrics(REGISTRY)


def picked(key: Key, seconds: float) -> None:
    """An object's turn has come, so long after its date."""
    QUEUE_WAIT.labels(key.kind).observe(seconds)
