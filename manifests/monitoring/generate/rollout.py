"""One rollout: stable beside candidate, and what the gates make of it."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from manifests.monitoring.generate.frame import ROLLOUT, WHO, begin, filled
from manifests.monitoring.generate.panels import HALF, THIRD, lines, number, row, rows, states, word
from manifests.monitoring.generate.queries import most, per_second, quantile


def rollout() -> builders.Dashboard:
    """Stable beside candidate, and what the gates make of it."""
    told = f"checkrein_rollout_%s{{{WHO}}}"
    info = f"checkrein_agentdeployment_info{{{WHO}}}"
    condition = f'checkrein_resource_condition{{kind="AgentDeployment",type="Progressing",{WHO}}}'
    shadow = 'checkrein_rollout_shadow_decisions{outcome="%s",' + WHO + "}"
    decisions = f"checkrein_agent_decisions_total{{{WHO}}}"
    latency = f"checkrein_agent_decision_seconds_bucket{{{WHO}}}"
    made = begin(
        ROLLOUT,
        "One rollout: stable beside candidate, and what the gates make of it.",
        "checkrein_agentdeployment_info",
    )
    panels = (
        word("Stable", (most(info, "stable"), "{{stable}}")),
        word("Candidate", (most(info, "candidate"), "{{candidate}}")),
        word("Step", (most(told % "step", "kind"), "{{kind}}")),
        number("Weight", "percentunit", (most(told % "weight_ratio", "namespace", "name"), "")),
        number("Units scored", "none", (most(told % "scored_units", "namespace", "name"), "")),
        word("Where it stands", (most(condition, "reason"), "{{reason}}")),
        states(
            "Steps",
            (most(told % "step", "kind") + " + 1", "{{kind}}"),
            (most(told % "weight_ratio", "namespace", "name"), "weight"),
            span=HALF,
        ),
        states(
            "Gates", (most(told % "gate", "gate", "role", "verdict"), "{{gate}} ({{role}}): {{verdict}}"), span=HALF
        ),
        row("Stable beside candidate"),
        lines(
            "Confidence sequence of the difference",
            "short",
            (most(told % "gate_difference_bound", "gate", "bound"), "{{gate}}: {{bound}} bound"),
            about="Of candidate minus stable. Right at all times together: looking often costs nothing.",
        ),
        lines(
            "Means",
            "short",
            (most(told % "gate_stable", "gate"), "{{gate}}: stable"),
            (most(told % "gate_candidate", "gate"), "{{gate}}: candidate"),
        ),
        lines(
            "Units",
            "none",
            (most(told % "gate_units", "gate"), "{{gate}}: seen"),
            (most(told % "gate_expected_units", "gate"), "{{gate}}: may still be needed"),
            span=THIRD,
        ),
        lines(
            "Decisions by arm",
            "reqps",
            (per_second(decisions, "arm", "policy"), "{{arm}} {{policy}}"),
            span=THIRD,
            stacked=True,
        ),
        lines("Latency, 99th percentile", "s", (quantile(0.99, latency, "policy"), "{{policy}}"), span=THIRD),
        row("Shadow: where they differ"),
        lines(
            "Share of decisions that agree",
            "percentunit",
            (
                f"{most(shadow % 'agreed', 'namespace', 'name')} / {most(shadow % 'compared', 'namespace', 'name')}",
                "agree",
            ),
            about="Divergence is not badness: it says where to look, never who is better.",
            span=THIRD,
            least=0,
        ),
        lines(
            "Mean distance of the actions",
            "percentunit",
            (most(told % "shadow_distance_ratio", "namespace", "name"), "distance"),
            span=THIRD,
            least=0,
        ),
        lines(
            "Decisions in the shadow",
            "none",
            (most(f"checkrein_rollout_shadow_decisions{{{WHO}}}", "outcome"), "{{outcome}}"),
            span=THIRD,
            least=0,
        ),
        lines(
            "Offered to the shadow",
            "reqps",
            (per_second(f"checkrein_agent_shadow_total{{{WHO}}}", "outcome"), "{{outcome}}"),
        ),
        lines("Episodes shadowed", "none", (most(told % "shadow_episodes", "namespace", "name"), "episodes"), least=0),
        row("History"),
        rows(
            "What changed",
            most(told % "event_timestamp_seconds", "event", "policy", "reason") + " * 1000",
            ("event", "policy", "reason"),
            value="when",
            unit="dateTimeAsIso",
            about="The latest of each kind; all of them: `checkrein rollout history`.",
        ),
        lines(
            "Since evidence last changed anything",
            "s",
            (f"time() - {most(told % 'scored_timestamp_seconds', 'namespace', 'name')}", "seconds"),
        ),
    )
    return filled(made, panels)
