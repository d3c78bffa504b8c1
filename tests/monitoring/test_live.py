"""A real Prometheus that has watched real processes has data behind every panel."""

from __future__ import annotations

from pathlib import Path

import pytest
from manifests.monitoring.generate import alerts, catalogue
from tests.cluster.steps import ClusterError, wait_until
from tests.monitoring import boards
from tests.monitoring.story import NAMESPACE, Watched, variables

# What nothing in this story does; the metrics themselves are in the tables of the processes that tell them.
ELSEWHERE = {
    "checkrein_resource_unreadable",
    "checkrein_refused_writes_total",
    "checkrein_rollout_watch_return",
    "checkrein_rollout_watch_evidence",
    "checkrein_agent_shield_errors_total",
    "checkrein_training_tracker_up",
    "checkrein_trainingjob_episode_return",  # the played trainer has none
}


def test_every_process_was_scraped(watched: Watched) -> None:
    # One scrape of many may take longer than the second that it is given.
    down = watched.prometheus.down
    wait_until(lambda: not down(), 180, otherwise=lambda: ClusterError(f"not scraped: {down()}"))


@pytest.mark.parametrize("file", boards.FILES, ids=lambda file: str(file.stem))
def test_there_is_data_behind_every_panel(file: Path, watched: Watched) -> None:
    asked = boards.queries(file)
    empty = [
        (each.panel, expression)
        for each in asked
        if not watched.prometheus.series(expression := each.filled(variables(file.stem)), watched.start, watched.end)
    ]
    assert empty == []
    assert len(asked) > 10


@pytest.mark.parametrize("file", boards.FILES, ids=lambda file: str(file.stem))
def test_annotations_mark_promotions_and_overrides(file: Path, watched: Watched) -> None:
    found = {
        each.panel: watched.prometheus.series(each.filled(variables(file.stem)), watched.start, watched.end)
        for each in boards.marks(file)
    }
    events = [series for series in found["Promotions"] if series.labels["namespace"] == NAMESPACE]
    assert [series.labels["policy"] for series in events] == ["cartpole-1"]
    moment = events[0].values[-1][1] / 1000
    assert watched.begun - 1 < moment < watched.end, "the sample's value is the moment that is marked"
    assert [s.labels["reason"] for s in found["Overrides"] if s.labels["namespace"] == NAMESPACE] == ["Action"]


def test_alerts_can_be_evaluated_and_their_metrics_are_told(watched: Watched) -> None:
    rules = [rule for group in watched.prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == {alert.name for alert in alerts.alerts()}
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
    named = {name for alert in alerts.alerts() for name in boards.NAME.findall(alert.expression)}
    known = set(watched.prometheus.get("label/__name__/values"))
    assert named <= known


def test_every_metric_of_the_table_is_told(watched: Watched) -> None:
    known = set(watched.prometheus.get("label/__name__/values"))
    missing = {metric.name for metric in catalogue.metrics() if not known.intersection(metric.samples)}
    assert missing <= ELSEWHERE


def test_every_told_metric_is_in_the_table(watched: Watched) -> None:
    told = {name for name in watched.prometheus.get("label/__name__/values") if name.startswith("checkrein_")}
    created = {name for name in told if name.endswith("_created")}  # by the metrics library, for each counter
    assert told - created - catalogue.sample_names() == set()


def test_not_a_number_is_not_equal_to_itself(watched: Watched) -> None:
    """On which the alert for losses rests; promtool has no NaN."""
    assert watched.prometheus.get("query", query="vector(NaN) != vector(NaN)")["result"]
    assert not watched.prometheus.get("query", query="vector(1) != vector(1)")["result"]
