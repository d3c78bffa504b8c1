"""What all dashboards share: variables, links, annotations, and how they become files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder as CogBuilder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard
from manifests.monitoring.generate.panels import DATASOURCE

Panel = builders.Row | CogBuilder[dashboard.Panel]
TAG = "checkrein"
FLEET, TRAINING, ROLLOUT, AGENT, OPERATOR = (
    f"checkrein-{name}" for name in ("fleet", "training", "rollout", "agent", "operator")
)
TITLES = {
    FLEET: "Checkrein: fleet",
    TRAINING: "Checkrein: training job",
    ROLLOUT: "Checkrein: rollout",
    AGENT: "Checkrein: agent",
    OPERATOR: "Checkrein: operator",
}
ABOUT_AGENTS = (ROLLOUT, AGENT)  # they have the same object
WHO = 'namespace=~"$namespace",name=~"$name"'
"""The object that the dashboard's variables name."""


def begin(uid: str, about: str, objects: str = "") -> builders.Dashboard:
    """A dashboard without panels. `objects` is the metric whose labels namespace and name may be chosen from."""
    made = builders.Dashboard(TITLES[uid]).uid(uid).description(about).tags([TAG]).editable()
    made = made.time("now-1h", "now").refresh("30s").timezone("browser")
    made = made.tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
    made = made.with_variable(builders.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    if objects:
        made = made.with_variable(_variable("namespace", f"label_values({objects}, namespace)"))
        made = made.with_variable(_variable("name", f'label_values({objects}{{namespace=~"$namespace"}}, name)'))
    return made.links(list(_links(uid)))


def filled(made: builders.Dashboard, panels: Iterable[Panel]) -> builders.Dashboard:
    """The dashboard with these panels and headings, in this order."""
    for panel in panels:
        made = made.with_row(panel) if isinstance(panel, builders.Row) else made.with_panel(panel)
    return made


def _variable(name: str, query: str) -> builders.QueryVariable:
    chosen = builders.QueryVariable(name).datasource(DATASOURCE).query({"query": query, "refId": name})
    chosen = chosen.refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
    return chosen.sort(dashboard.VariableSort.ALPHABETICAL_ASC)


def _links(uid: str) -> Iterable[builders.DashboardLink]:
    """To all others; between those about the same object with that object."""
    for other, title in TITLES.items():
        if other != uid:
            same = uid in ABOUT_AGENTS and other in ABOUT_AGENTS
            url = f"/d/{other}?${{datasource:queryparam}}" + (
                "&${namespace:queryparam}&${name:queryparam}" if same else ""
            )
            link = builders.DashboardLink(title.partition(": ")[2].capitalize()).url(url)
            yield link.type(dashboard.DashboardLinkType.LINK).keep_time(True).icon("dashboard")


def _event(name: str, events: str, colour: str, where: str) -> dict[str, Any]:
    """At the moment that the sample itself tells, which is exact however seldom Prometheus asks."""
    changed = f'checkrein_rollout_event_timestamp_seconds{{event=~"{events}"{where}}}'
    return {
        **_annotation(name, colour),
        "expr": f"max by (namespace, name, event, policy, reason) ({changed}) * 1000",
        "useValueForTime": True,
        "titleFormat": "{{event}}: {{policy}} ({{namespace}}/{{name}})",
        "textFormat": "{{reason}}",
    }


def marks(where: str = "") -> list[dict[str, Any]]:
    """Promotions, rollbacks and rejections, overrides. The SDK knows not all fields of a Prometheus annotation."""
    override = f'checkrein_resource_condition{{kind="AgentDeployment",type="Overridden",status="True"{where}}}'
    return [
        _event("Promotions", "Promoted", "green", where),
        _event("Rollbacks and rejections", "RolledBack|Rejected|Aborted|Inconclusive", "red", where),
        {
            **_annotation("Overrides", "orange"),
            "expr": f"max by (namespace, name, reason) ({override})",
            "titleFormat": "Override {{reason}} ({{namespace}}/{{name}})",
            "textFormat": "kubectl describe agentdeployment {{name}} -n {{namespace}}",
        },
    ]


def _annotation(name: str, colour: str) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {"name": name, "datasource": source, "enable": True, "hide": False, "iconColor": colour, "step": "60s"}


def text(made: builders.Dashboard, where: str = "") -> str:
    """The dashboard's file."""
    content = json.loads(json.dumps(made.build(), cls=JSONEncoder))
    content["annotations"]["list"] = marks(where)
    content.pop("id", None)
    for number, panel in enumerate(content["panels"], 1):
        panel["id"] = number
    return json.dumps(content, indent=1, sort_keys=True) + "\n"
