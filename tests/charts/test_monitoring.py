"""What the chart gives Grafana and the Prometheus operator, where it is asked to."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from tests.charts.render import ChartError, template
from tests.monitoring import boards

ALL = ("--set", "monitoring.dashboards.enabled=true", "--set", "monitoring.alerts.enabled=true")


def rendered(*arguments: str) -> list[dict[str, Any]]:
    return [obj for obj in yaml.safe_load_all(template(*arguments)) if obj]


def dashboards(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [o for o in objects if o["kind"] == "ConfigMap" and o["metadata"]["name"].startswith("checkrein-dashboard-")]


def test_nobody_is_given_what_he_did_not_ask_for() -> None:
    objects = rendered()
    assert dashboards(objects) == []
    assert "PrometheusRule" not in {obj["kind"] for obj in objects}


def test_each_dashboard_is_a_config_map_that_the_sidecar_finds() -> None:
    folder = ("--set", "monitoring.dashboards.annotations.grafana_folder=Checkrein")
    found = dashboards(rendered(*ALL, *folder))
    told = {name: json.loads(text) for obj in found for name, text in obj["data"].items()}
    assert told == {f"checkrein-{file.name}": boards.load(file) for file in boards.FILES}
    for obj in found:
        assert obj["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert obj["metadata"]["annotations"] == {"grafana_folder": "Checkrein"}
        assert len(json.dumps(obj)) < 262_144, "kubectl apply keeps a copy in an annotation, which holds no more"


def test_alerts_are_a_prometheus_rule_whose_runbooks_lie_where_one_says() -> None:
    chosen = (
        "--set",
        "monitoring.alerts.runbooks=https://wiki.example/rl/",
        "--set",
        "monitoring.alerts.labels.release=p",
    )
    [rule] = [obj for obj in rendered(*ALL, *chosen) if obj["kind"] == "PrometheusRule"]
    assert rule["metadata"]["labels"]["release"] == "p"
    plain = (boards.MONITORING / "alerts.yaml").read_text()
    assert rule["spec"] == yaml.safe_load(plain.replace("docs/runbooks/", "https://wiki.example/rl/"))


@pytest.mark.parametrize(
    "values",
    [
        pytest.param("monitoring.alerts.runbooks=https://wiki.example", id="no slash at its end"),
        pytest.param("monitoring.dashboards.labels=null", id="a dashboard without a label is found by nobody"),
        pytest.param("monitoring.dashboards.enable=true", id="a word that is not known"),
    ],
)
def test_values_that_would_do_nothing_are_refused(values: str) -> None:
    with pytest.raises(ChartError, match="monitoring"):
        template(*ALL, "--set", values)
