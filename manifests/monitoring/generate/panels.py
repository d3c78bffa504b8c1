"""Panels in few words. Each query names the metric that it needs, and the test asks a Prometheus for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
HALF, THIRD, QUARTER, SIXTH, WHOLE = 12, 8, 6, 4, 24
Query = tuple[str, str]
"""PromQL, and the legend of its series."""


def lines(
    title: str,
    unit: str,
    *queries: Query,
    about: str = "",
    span: int = HALF,
    stacked: bool = False,
    least: float | None = None,
) -> timeseries.Panel:
    """Series over time."""
    panel = timeseries.Panel().title(title).description(about).unit(unit).span(span).height(8).datasource(DATASOURCE)
    panel = panel.line_width(1).fill_opacity(30 if stacked else 5).show_points(common.VisibilityMode.NEVER)
    legend = common_builders.VizLegendOptions().show_legend(True).placement(common.LegendPlacement.BOTTOM)
    panel = panel.legend(legend.display_mode(common.LegendDisplayMode.LIST))
    panel = panel.tooltip(common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
    if stacked:
        panel = panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if least is not None:
        panel = panel.min(least)
    return panel.targets([_ranged(query, number) for number, query in enumerate(queries)])


def number(title: str, unit: str, *queries: Query, about: str = "", span: int = SIXTH) -> stat.Panel:
    """The latest value; with a legend as its name where there are several."""
    panel = stat.Panel().title(title).description(about).unit(unit).span(span).height(4).datasource(DATASOURCE)
    latest = common_builders.ReduceDataOptions().calcs(["lastNotNull"])
    panel = panel.reduce_options(latest).graph_mode(common.BigValueGraphMode.NONE)
    panel = panel.color_mode(common.BigValueColorMode.NONE)
    return panel.targets([_ranged(query, number) for number, query in enumerate(queries)])


def word(title: str, query: Query, about: str = "", span: int = SIXTH) -> stat.Panel:
    """A label's value instead of a number: the legend."""
    return number(title, "none", query, about=about, span=span).text_mode(common.BigValueTextMode.NAME)


def states(title: str, *queries: Query, about: str = "", span: int = WHOLE) -> statetimeline.Panel:
    """What held when, one line for each series."""
    panel = statetimeline.Panel().title(title).description(about).span(span).height(6).datasource(DATASOURCE)
    panel = panel.show_value(common.VisibilityMode.NEVER).row_height(0.8).fill_opacity(70)
    legend = common_builders.VizLegendOptions().show_legend(False)
    return panel.legend(legend).targets([_ranged(query, number) for number, query in enumerate(queries)])


def rows(
    title: str,
    expression: str,
    columns: Sequence[str],
    value: str = "",
    unit: str = "none",
    link: str = "",
    about: str = "",
    span: int = HALF,
) -> table.Panel:
    """One row for each series now, its labels as columns. `link` is the uid of the dashboard about a row's object."""
    panel = table.Panel().title(title).description(about).span(span).height(8).datasource(DATASOURCE)
    query = prometheus.Dataquery().expr(expression).instant().format(PromQueryFormat.TABLE).ref_id("A")
    order = {name: place for place, name in enumerate(columns)}
    hidden = {"Time": True} | ({} if value else {"Value": True})
    options: dict[str, Any] = {
        "excludeByName": hidden,
        "indexByName": order | {"Value": len(order)},
        "renameByName": {"Value": value} if value else {},
    }
    panel = (
        panel.show_header(True)
        .with_target(query)
        .with_transformation(dashboard.DataTransformerConfig(id_val="organize", options=options))
    )
    if value:
        panel = panel.override_by_name(value, [dashboard.DynamicConfigValue(id_val="unit", value=unit)])
    if link:
        here = "&var-namespace=${__data.fields.namespace}&var-name=${__data.fields.name}"
        url = f"/d/{link}?${{datasource:queryparam}}{here}"
        there = {"title": "Look at ${__data.fields.name}", "url": url}
        panel = panel.override_by_name("name", [dashboard.DynamicConfigValue(id_val="links", value=[there])])
    return panel


def _ranged(query: Query, number: int) -> prometheus.Dataquery:
    expression, legend = query
    return prometheus.Dataquery().expr(expression).legend_format(legend).range().ref_id(chr(ord("A") + number))


def row(title: str) -> builders.Row:
    """A heading."""
    return builders.Row(title)
