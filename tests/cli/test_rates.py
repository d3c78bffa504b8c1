"""`checkrein top`: rates from two readings of metrics."""

from __future__ import annotations

import math

import pytest

from checkrein.cli.look import rates

TEXT = """
# TYPE checkrein_agent_decisions_total counter
checkrein_agent_decisions_total{{arm="stable",policy="a-1"}} {stable}
checkrein_agent_decisions_total{{arm="candidate",policy="a-2"}} {candidate}
# TYPE checkrein_agent_decision_seconds histogram
checkrein_agent_decision_seconds_bucket{{policy="a-1",le="0.001"}} {fast}
checkrein_agent_decision_seconds_bucket{{policy="a-1",le="0.002"}} {all}
checkrein_agent_decision_seconds_bucket{{policy="a-1",le="+Inf"}} {all}
# TYPE checkrein_agent_log_lag_records gauge
checkrein_agent_log_lag_records{{place="store"}} 7
"""


def test_arms_are_summed_and_seconds_are_those_between() -> None:
    first = rates.read(TEXT.format(stable=100, candidate=10, fast=110, all=110), 10.0)
    second = rates.read(TEXT.format(stable=280, candidate=30, fast=210, all=310), 12.0)
    found = rates.between(first, second)
    assert (found.decisions, found.log_lag) == (100.0, 7.0)
    assert found.p50 == pytest.approx(0.001)
    assert found.p99 == pytest.approx(0.00198)


def test_a_replica_that_began_anew_counts_from_zero() -> None:
    first = rates.read(TEXT.format(stable=1000, candidate=0, fast=1000, all=1000), 0.0)
    second = rates.read(TEXT.format(stable=50, candidate=0, fast=50, all=50), 1.0)
    assert rates.between(first, second).decisions == 50.0


@pytest.mark.parametrize(
    ("buckets", "q", "value"),
    [({}, 0.5, None), ({1.0: 0.0, math.inf: 0.0}, 0.5, None), ({1.0: 4.0, math.inf: 8.0}, 0.99, 1.0)],
)
def test_quantiles_of_odd_histograms(buckets: dict[float, float], q: float, value: float | None) -> None:
    assert rates.quantile(buckets, q) == value
