"""The parts of `make bench-operator` that count."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests.bench.operator import compared
from tests.bench.operator_idle import is_write
from tests.bench.operator_leaders import Times
from tests.bench.operator_world import Mix, metrics
from tests.bench.report import Figure

PAGE = """# HELP checkrein_reconciles_total Passes
checkrein_reconciles_total{kind="TrainingJob",outcome="ok"} 3.0
checkrein_reconciles_total{kind="PolicyVersion",outcome="ok"} 4.0
checkrein_queue_overdue_objects 0.0
checkrein_watch_events_created{kind="Pod"} 1.7e+09
"""


def test_metrics_are_summed_over_labels_and_told_with_them() -> None:
    operator: Any = SimpleNamespace(get=lambda _path: (200, PAGE))
    found = metrics(operator)
    assert (found["checkrein_reconciles_total"], found["checkrein_queue_overdue_objects"]) == (7, 0)
    assert found['checkrein_reconciles_total{kind="PolicyVersion",outcome="ok"}'] == 4


@pytest.mark.parametrize("objects", [10, 37, 10_000])
def test_a_mix_has_as_many_as_it_says(objects: int) -> None:
    mix = Mix.of(objects)
    assert mix.versions + mix.jobs + mix.environments + mix.agents == objects


@pytest.mark.parametrize(
    ("verb", "resource", "write"),
    [
        pytest.param("watch", "pods", False, id="a watch"),
        pytest.param("patch", "policyversions", True, id="a status"),
        pytest.param("create", "events", True, id="an event"),
        pytest.param("update", "leases", False, id="a renewal of the Lease"),
    ],
)
def test_what_counts_as_a_write(verb: str, resource: str, write: bool) -> None:
    assert is_write({"verb": verb, "objectRef": {"resource": resource}}) is write


def test_the_longest_gap_is_told() -> None:
    found = {figure.name: figure.value for figure in Times([1.0, 2.0, 30.0]).figures("killed", "<= 20")}
    assert found["killed: max"] == 30
    assert found["killed: p50"] == 2


@pytest.mark.parametrize(
    ("other", "holds"),
    [
        pytest.param([Figure("KubeRay 1.5.1, RayJobs: took", 20, "s")], True, id="faster"),
        pytest.param([], False, id="missing"),
    ],
)
def test_jobs_are_compared_with_kuberays(other: list[Figure], holds: bool) -> None:
    [ratio] = compared([Figure("Checkrein, TrainingJobs: took", 10, "s"), *other])
    assert ratio.holds is holds
