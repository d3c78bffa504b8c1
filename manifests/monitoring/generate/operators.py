"""The operator's own work: who leads, what waits, what fails."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from manifests.monitoring.generate.frame import OPERATOR, begin, filled
from manifests.monitoring.generate.panels import HALF, THIRD, WHOLE, lines, number, row, states, word
from manifests.monitoring.generate.queries import RATE, only, per_second, quantile, rate

OURS = "checkrein_build_info"


def operator() -> builders.Dashboard:
    """The operator's own work."""
    made = begin(OPERATOR, "The operator: who leads, what waits, what fails.")
    stored = "checkrein_store_request_%s"
    panels = (
        number("Leaders", "none", ("sum(checkrein_leader)", ""), about="One; none while one takes over from another."),
        number("Operators", "none", ("count(checkrein_leader)", "")),
        word("Version", ("max by (version) (checkrein_build_info)", "{{version}}")),
        number(
            "Objects with a date", "none", ("sum(checkrein_queue_objects and on (instance) checkrein_leader == 1)", "")
        ),
        number("Store reachable", "bool_yes_no", (f"min({only('checkrein_store_reachable', OURS)})", "")),
        number("Objects counted only", "none", ("sum(max by (kind) (checkrein_resources_untold))", "")),
        states("Who leads", ("checkrein_leader", "{{instance}}"), span=WHOLE),
        row("Queue and passes"),
        lines("Queue", "none", ("checkrein_queue_objects", "{{instance}}"), span=THIRD, least=0),
        lines(
            "Wait in the queue",
            "s",
            (quantile(0.5, "checkrein_queue_wait_seconds_bucket"), "median"),
            (quantile(0.99, "checkrein_queue_wait_seconds_bucket"), "99th percentile"),
            span=THIRD,
            about="From when an object fell due to when a worker took it.",
        ),
        lines(
            "Time of a pass, 99th percentile",
            "s",
            (quantile(0.99, "checkrein_reconcile_duration_seconds_bucket", "kind"), "{{kind}}"),
            span=THIRD,
        ),
        lines("Passes", "ops", (per_second("checkrein_reconciles_total", "kind", "outcome"), "{{kind}} {{outcome}}")),
        lines("Watch events", "ops", (per_second("checkrein_watch_events_total", "kind"), "{{kind}}")),
        lines(
            "Comparisons with a list",
            "ops",
            (per_second("checkrein_resyncs_total"), "done"),
            (per_second("checkrein_resync_errors_total"), "failed"),
            span=THIRD,
        ),
        lines(
            "Time of a comparison, median",
            "s",
            (quantile(0.5, "checkrein_resync_duration_seconds_bucket"), "seconds"),
            span=THIRD,
        ),
        lines(
            "Changes that a list told first",
            "ops",
            (per_second("checkrein_missed_changes_total", "kind"), "{{kind}}"),
            span=THIRD,
        ),
        row("API server and store"),
        lines(
            "Requests to the API server",
            "reqps",
            (per_second("checkrein_apiserver_requests_total", "method", "code"), "{{method}} {{code}}"),
        ),
        lines(
            "Their time, 99th percentile",
            "s",
            (quantile(0.99, "checkrein_apiserver_request_duration_seconds_bucket", "method"), "{{method}}"),
        ),
        lines(
            "Requests to the store",
            "reqps",
            (rate(stored % "duration_seconds_count", "operation", of=OURS), "{{operation}}"),
            span=THIRD,
        ),
        lines(
            "Their time, 99th percentile",
            "s",
            (
                f"histogram_quantile(0.99, {rate(stored % 'duration_seconds_bucket', 'le', 'operation', of=OURS)})",
                "{{operation}}",
            ),
            span=THIRD,
        ),
        lines(
            "Errors of the store",
            "reqps",
            (
                rate(stored % "errors_total", "operation", "reason", of=OURS),
                "{{operation}} {{reason}}",
            ),
            span=THIRD,
            about="AlreadyExists and NotFound are answers, too.",
        ),
        row("Process"),
        lines("Memory", "bytes", (only("process_resident_memory_bytes", OURS), "{{instance}}"), span=HALF, least=0),
        lines(
            "Processors",
            "short",
            (only(f"rate(process_cpu_seconds_total[{RATE}])", OURS), "{{instance}}"),
            span=HALF,
            least=0,
        ),
    )
    return filled(made, panels)
