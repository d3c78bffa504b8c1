"""What is generated names metrics that exist, and is what Grafana and Prometheus can read."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from manifests.monitoring.generate import __main__ as generate
from manifests.monitoring.generate import alerts, catalogue, frame
from tests.cluster.cache import REPOSITORY
from tests.monitoring import boards
from tests.monitoring.prometheus import program

RUNBOOKS = REPOSITORY / "docs" / "runbooks"
# https://prometheus.io/docs/practices/naming: base units, one word for each; a ratio from 0 to 1.
NOT_BASE = re.compile(r"_(milliseconds|microseconds|ms|minutes|hours|percent|kilobytes|megabytes|mb|kb)(_|$)")


def test_generated_files_are_those_in_the_repository() -> None:
    different = [str(path) for path, text in generate.files().items() if (REPOSITORY / path).read_text() != text]
    assert different == [], "run `make generate`"


def test_metrics_keep_the_conventions() -> None:
    for metric in catalogue.metrics():
        assert metric.name.startswith("checkrein_"), metric
        assert (metric.type == "counter") == metric.name.endswith("_total"), metric
        assert not NOT_BASE.search(metric.name), metric
        assert metric.help.endswith("."), metric
        assert metric.type != "histogram" or metric.name.endswith(("_seconds", "_decisions", "_return")), metric


@pytest.mark.parametrize("file", boards.FILES, ids=lambda file: str(file.stem))
def test_a_dashboard_passes_through_grafanas_own_model_unchanged(file: Path) -> None:
    """The SDK's models are generated from Grafana's schema: what it does not know would get lost."""
    register_default_plugins()
    board = boards.load(file)
    marks = board["annotations"].pop("list")
    read = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
    assert {**read, "annotations": None} == {**board, "annotations": None}
    assert {m["datasource"]["uid"] for m in marks} == {"${datasource}"}
    places = [panel["gridPos"] for panel in boards.panels(board)]
    assert all(p["x"] + p["w"] <= 24 for p in places)
    ids = [panel["id"] for panel in boards.panels(board)]
    assert len(set(ids)) == len(ids)


def test_queries_and_alerts_name_metrics_that_exist() -> None:
    known = catalogue.sample_names()
    asked = [a.expression for f in boards.FILES for a in (*boards.queries(f), *boards.marks(f))]
    asked += [alert.expression for alert in alerts.alerts()]
    named = {name for expression in asked for name in boards.NAME.findall(expression)}
    assert named - known == set()
    assert len(named) > 80


def test_dashboards_link_to_each_other() -> None:
    uids = {boards.load(file)["uid"] for file in boards.FILES}
    assert uids == set(frame.TITLES)
    for file in boards.FILES:
        board = boards.load(file)
        linked = {link["url"].removeprefix("/d/").partition("?")[0] for link in board["links"]}
        assert linked == uids - {board["uid"]}


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    pages = {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"}
    assert {alert.runbook for alert in alerts.alerts()} == pages
    for alert in alerts.alerts():
        assert alert.name in (RUNBOOKS / f"{alert.runbook}.md").read_text(), alert.name


@pytest.mark.parametrize("command", [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts_test.yaml")])
def test_promtool_agrees(command: tuple[str, ...]) -> None:
    *verbs, file = command
    path = boards.MONITORING / file if file == "alerts.yaml" else Path(__file__).with_name(file)
    done = subprocess.run([program("promtool"), *verbs, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_tests_every_alert() -> None:
    tested = Path(__file__).with_name("alerts_test.yaml").read_text()
    assert [alert.name for alert in alerts.alerts() if f'alertname="{alert.name}"' not in tested] == []
