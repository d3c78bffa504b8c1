"""Bad and border objects on a running system: refused by name or told in a condition, and mended without hands."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from tests.api.server import Server
from tests.bench import report
from tests.cluster.controlplane import ControlPlane
from tests.control.conftest import Operator, operator
from tests.faults.mutation_stage import Node, Stage
from tests.faults.mutation_trials import Trial, refused, try_all
from tests.faults.mutations import mutations

from checkrein.api import crds

__all__ = ["operator"]
ALL = "CHECKREIN_ALL_MUTATIONS"
EVERY = mutations()
# Of each kind a few that the API server takes, of the ways in which an object can be wrong all the same.
TAKEN = (
    "spec.source.gymnasium.kwargs: arguments of 1 MB",
    "spec.environmentRef.name: an environment of another namespace",
    "spec.template.nodeSelector: a label that cannot be",
    "spec.gates.0.atLeast: a bar beyond the bounds",
    "spec.artifact.key: a key that does not exist",
    "spec.interface.action.n: other spaces",
    "spec.policyVersion: a version that does not exist",
    "spec.override: a pin to another namespace",
)
SAMPLED = [m for m in EVERY if m.number % 12 == 0 or m.title.partition(" ")[2].partition(" ")[2] in TAKEN]


@pytest.fixture(scope="module")
def stage(controlplane: ControlPlane, operator: Operator) -> Iterator[Stage]:
    """Good objects of every kind that stand still."""
    node = Node(Server(controlplane.kubeconfig))
    built = Stage(node, "mutations")
    built.build()
    yield built
    node.close()


def test_they_are_the_same_in_every_run() -> None:
    assert mutations() == EVERY
    assert [m.number for m in EVERY] == list(range(1, len(EVERY) + 1))
    assert len(EVERY) >= 300
    assert {m.kind for m in EVERY} == {resource.kind for resource in crds.RESOURCES}


@pytest.mark.controlplane
@pytest.mark.store
@pytest.mark.timeout(1800)
def test_a_sample_is_refused_by_name_or_told_and_mended(
    stage: Stage,
    operator: Operator,
    controlplane: ControlPlane,
) -> None:
    chosen = [m for m in SAMPLED if m.title.partition(" ")[2].partition(" ")[2] in TAKEN or refused(stage, Trial(m))]
    trials = try_all(stage, operator, controlplane.audit_log, chosen)
    assert [t.dump() for t in trials if t.problems] == []
    assert Counter(t.outcome for t in trials)["told"] >= 8


@pytest.mark.controlplane
@pytest.mark.store
@pytest.mark.timeout(3600)
@pytest.mark.skipif(ALL not in os.environ, reason="all of them take a quarter of an hour: make test-mutations")
def test_all_are_refused_by_name_or_told_and_mended(
    stage: Stage,
    operator: Operator,
    controlplane: ControlPlane,
) -> None:
    begin = time.monotonic()
    trials = try_all(stage, operator, controlplane.audit_log, EVERY)
    outcomes = Counter(t.outcome for t in trials)
    wrong = [t.dump() for t in trials if t.problems]
    figures = [
        report.Figure("mutations", len(trials), "", ">= 300"),
        report.Figure("refused by the API server, with the field's name", outcomes["refused"], ""),
        report.Figure("accepted: told in a condition", outcomes["told"], ""),
        report.Figure("accepted: served, for they are good", outcomes["served"], ""),
        report.Figure("unnamed, untold, unrecovered or restless", len(wrong), "", "<= 0"),
        report.Figure("time", time.monotonic() - begin, "s"),
    ]
    report.write("mutations", figures, wrong=wrong, told=[t.dump() for t in trials if t.outcome == "told"])
    assert wrong == []
