"""What Prometheus reads of decisions."""

from __future__ import annotations

import numpy as np
import pytest

from checkrein.agent.execution import Execution
from checkrein.agent.metrics import LATENCY_BUCKETS, Metrics

GREEDY = Execution("Policy", None, 0, 0, np.array(0))
EXPLORED = Execution("Policy", None, 0, 1, np.array(1), explored=True)


@pytest.fixture
def metrics() -> Metrics:
    """One decision of stable as long as a bucket is, two of the candidate: a longer one, and one without an end."""
    made = Metrics()
    made.policy("p-1").count(GREEDY, LATENCY_BUCKETS[0])
    made.policy("p-1", "candidate").count(EXPLORED, LATENCY_BUCKETS[0] * 1.5)
    made.policy("p-1", "candidate").count(GREEDY, LATENCY_BUCKETS[-1] * 2)
    return made


def test_decisions_are_told_by_arm_and_latencies_of_both_together(metrics: Metrics) -> None:
    def told(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"checkrein_agent_{name}", {"policy": "p-1", **labels})

    decided = {"regime": "Policy", "outcome": "decided"}
    assert [told("decisions_total", arm=arm, **decided) for arm in ("stable", "candidate")] == [1, 2]
    assert told("decisions_total", arm="stable", regime="Policy", outcome="failed") == 0
    assert told("explored_total") == 1
    within = [told("decision_seconds_bucket", le=le) for le in ("5e-05", "0.0001", "4.0", "+Inf")]
    assert within == [1, 2, 2, 3]
    assert told("decision_seconds_count") == 3
    assert told("decision_seconds_sum") == pytest.approx(LATENCY_BUCKETS[0] * 2.5 + LATENCY_BUCKETS[-1] * 2)


def test_a_policy_that_has_left_memory_is_told_no_more(metrics: Metrics) -> None:
    metrics.keep(["p-2"])
    names = {
        sample.labels["policy"]
        for family in metrics.registry.collect()
        for sample in family.samples
        if "policy" in sample.labels
    }
    assert names == set()
