"""The fleet: what is training, who is acting, is it good, what changed, what needs somebody."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from manifests.monitoring.generate.frame import AGENT, FLEET, ROLLOUT, TRAINING, begin
from manifests.monitoring.generate.panels import THIRD, lines, number, rows
from manifests.monitoring.generate.queries import most, per_second

READY = '{kind="AgentDeployment",type="Ready",status="True"}'


def fleet() -> builders.Dashboard:
    """What is training, who is acting, is it good, what changed, what needs somebody."""
    condition = "checkrein_resource_condition"
    waiting = f'{condition}{{type=~"Ready|Complete|Verified|Progressing",status!="True",reason!="Complete"}}'
    made = begin(FLEET, "What is training, who is acting, is it good, what changed, and what needs somebody.")
    made = made.with_panel(
        number("Agents that decide", "none", (f"sum({most(condition + READY, 'namespace', 'name')}) or vector(0)", ""))
    )
    for title, kind in (("Environments", "RLEnvironment"), ("Training jobs", "TrainingJob")):
        made = made.with_panel(
            number(title, "none", (f'sum(max by (kind, phase) (checkrein_resources{{kind="{kind}"}}))', ""))
        )
    for title, kind in (("Policy versions", "PolicyVersion"), ("Agents", "AgentDeployment")):
        made = made.with_panel(
            number(title, "none", (f'sum(max by (kind, phase) (checkrein_resources{{kind="{kind}"}}))', ""))
        )
    made = made.with_panel(number("Decisions per second", "reqps", (per_second("checkrein_agent_decisions_total"), "")))
    made = made.with_panel(
        rows(
            "Who acts",
            most("checkrein_agentdeployment_info", "namespace", "name", "wanted", "stable", "candidate"),
            ("namespace", "name", "stable", "candidate", "wanted"),
            link=AGENT,
        )
    )
    made = made.with_panel(
        rows(
            "What trains, and what came of it",
            most("checkrein_trainingjob_info", "namespace", "name", "algorithm", "environment", "policyversion"),
            ("namespace", "name", "algorithm", "environment", "policyversion"),
            link=TRAINING,
        )
    )
    made = made.with_panel(
        rows(
            "What changed",
            most("checkrein_rollout_event_timestamp_seconds", "namespace", "name", "event", "policy", "reason")
            + " * 1000",
            ("namespace", "name", "event", "policy", "reason"),
            value="when",
            unit="dateTimeFromNow",
            link=ROLLOUT,
            about="The latest change of each kind. Who did it: `checkrein rollout history`.",
        )
    )
    made = made.with_panel(
        rows(
            "What is not as asked for",
            most(waiting, "kind", "namespace", "name", "type", "reason"),
            ("kind", "namespace", "name", "type", "reason"),
            about="`kubectl describe` the object: the condition's message names the field and the mend.",
        )
    )
    made = made.with_panel(
        rows(
            "Policy versions: lower bound of the mean return",
            most("checkrein_policyversion_evaluation_return_lower_bound", "namespace", "name"),
            ("namespace", "name"),
            value="lower bound",
            unit="short",
            span=THIRD,
        )
    )
    made = made.with_panel(
        rows(
            "Environments",
            most("checkrein_environment_info", "namespace", "name", "source", "version"),
            ("namespace", "name", "source", "version"),
            span=THIRD,
        )
    )
    made = made.with_panel(
        rows(
            "Under an override",
            most(
                f'{condition}{{kind="AgentDeployment",type="Overridden",status="True"}}', "namespace", "name", "reason"
            ),
            ("namespace", "name", "reason"),
            link=AGENT,
            span=THIRD,
        )
    )
    made = made.with_panel(
        lines("Objects by phase", "none", (most("checkrein_resources", "kind", "phase"), "{{kind}} {{phase}}"), least=0)
    )
    return made.with_panel(
        lines(
            "Decisions",
            "reqps",
            (per_second("checkrein_agent_decisions_total", "namespace", "name"), "{{namespace}}/{{name}}"),
        )
    )
