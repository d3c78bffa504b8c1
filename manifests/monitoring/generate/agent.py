"""One AgentDeployment's replicas: who decides, how fast, within which bounds."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from manifests.monitoring.generate.frame import AGENT, WHO, begin, filled
from manifests.monitoring.generate.panels import THIRD, lines, number, row, states, word
from manifests.monitoring.generate.queries import most, only, per_second, quantile, rate


def agent() -> builders.Dashboard:
    """One AgentDeployment's replicas."""
    told, info = f"checkrein_agent_%s{{{WHO}}}", f"checkrein_agentdeployment_%s{{{WHO}}}"
    made = begin(
        AGENT, "One AgentDeployment: who decides, how fast, within which bounds.", "checkrein_agentdeployment_info"
    )
    panels = (
        word("Acting", (most(told % "acting", "policy", "regime"), "{{policy}} {{regime}}")),
        number("Replicas ready", "none", (most(info % "replicas_ready", "namespace", "name"), "")),
        number("Replicas wanted", "none", (most(info % "replicas_wanted", "namespace", "name"), "")),
        number("Overridden", "bool_yes_no", (most(told % "overridden", "namespace", "name"), "")),
        number("Decisions per second", "reqps", (per_second(told % "decisions_total"), "")),
        number("Epoch", "none", (most(told % "epoch", "namespace", "name"), "")),
        lines(
            "Decisions by regime",
            "reqps",
            (per_second(told % "decisions_total", "regime", "outcome"), "{{regime}} {{outcome}}"),
            stacked=True,
        ),
        lines(
            "Latency",
            "s",
            (quantile(0.5, told % "decision_seconds_bucket", "policy"), "{{policy}}: median"),
            (quantile(0.99, told % "decision_seconds_bucket", "policy"), "{{policy}}: 99th percentile"),
        ),
        row("Reins"),
        states("Override", (most(told % "overridden", "pod"), "{{pod}}"), span=THIRD),
        states("Who acts", (most(told % "acting", "policy", "regime"), "{{policy}} {{regime}}"), span=THIRD),
        lines(
            "Shield: actions changed or stopped",
            "reqps",
            (per_second(told % "shielded_total", "rule"), "{{rule}}"),
            span=THIRD,
        ),
        lines(
            "Limits: requests for more than is granted",
            "reqps",
            (per_second(told % "limited_total", "pod"), "{{pod}}"),
            span=THIRD,
        ),
        lines("Refusals", "reqps", (per_second(told % "refusals_total", "problem"), "{{problem}}"), span=THIRD),
        lines(
            "Exploration",
            "reqps",
            (per_second(told % "explored_total", "policy"), "{{policy}}"),
            (per_second(told % "unexplored_total"), "given up"),
            span=THIRD,
        ),
        row("Episodes"),
        lines("Ended", "reqps", (per_second(told % "episodes_ended_total", "ending"), "{{ending}}"), span=THIRD),
        lines(
            "Return",
            "short",
            (quantile(0.1, told % "episode_return_bucket"), "10th percentile"),
            (quantile(0.5, told % "episode_return_bucket"), "median"),
            (quantile(0.9, told % "episode_return_bucket"), "90th percentile"),
            about="Of episodes played at one replica; as coarse as the metric's buckets.",
            span=THIRD,
        ),
        lines("Length, median", "none", (quantile(0.5, told % "episode_decisions_bucket"), "decisions"), span=THIRD),
        row("Decision log"),
        lines(
            "Records that are not there yet",
            "none",
            (most(told % "log_lag_records", "pod", "place"), "{{pod}}: {{place}}"),
            span=THIRD,
        ),
        lines("Waiting for the store", "bytes", (most(told % "log_waiting_bytes", "pod"), "{{pod}}"), span=THIRD),
        states(
            "Log written, log stored",
            (most(told % "log_healthy", "pod"), "{{pod}}: written"),
            (most(told % "log_storing", "pod"), "{{pod}}: stored"),
            span=THIRD,
        ),
        lines("Records lost", "none", (most(told % "log_lost_records_total", "pod"), "{{pod}}"), span=THIRD),
        row("Replicas"),
        states("Ready", (most(told % "ready", "pod"), "{{pod}}"), span=THIRD),
        lines(
            "Since the API server was last heard",
            "s",
            (most(told % "watch_age_seconds", "pod"), "{{pod}}"),
            span=THIRD,
        ),
        lines("Policies in memory", "none", (most(told % "policies_loaded", "pod"), "{{pod}}"), span=THIRD),
        lines(
            "Memory",
            "bytes",
            (most(only(f"process_resident_memory_bytes{{{WHO}}}", told % "epoch"), "pod"), "{{pod}}"),
            span=THIRD,
        ),
        lines(
            "Processors",
            "short",
            (
                rate(f"process_cpu_seconds_total{{{WHO}}}", "pod", of=told % "epoch"),
                "{{pod}}",
            ),
            span=THIRD,
        ),
        lines(
            "Requests to the store",
            "reqps",
            (
                rate(f"checkrein_store_request_duration_seconds_count{{{WHO}}}", "operation", of=told % "epoch"),
                "{{operation}}",
            ),
            span=THIRD,
        ),
    )
    return filled(made, panels)
