"""What the operator says of itself to Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from checkrein.api.deployment import AgentDeploymentStatus

RECONCILE_SECONDS = Histogram(
    "checkrein_reconcile_duration_seconds",
    "Time of one pass over one object.",
    ["kind"],
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
)
RECONCILES = Counter("checkrein_reconciles_total", "Passes over objects by outcome.", ["kind", "outcome"])
QUEUE = Gauge("checkrein_queue_objects", "Objects with a date to be looked at.")
EVENTS = Counter("checkrein_watch_events_total", "Watch events that brought news.", ["kind"])
RESYNCS = Counter("checkrein_resyncs_total", "Comparisons of all kinds with a list.")
MISSED = Counter("checkrein_missed_changes_total", "Changes that a list told of before a watch did.", ["kind"])
LEADER = Gauge("checkrein_leader", "1 while this operator leads.")


class Rollouts(Collector):
    """How each deployment's rollout stands, as its status says. What is forgotten is not shown any more."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], AgentDeploymentStatus] = {}

    def tell(self, namespace: str, name: str, status: AgentDeploymentStatus) -> None:
        """What a deployment's status says from now on."""
        self._told[namespace, name] = status

    def forget(self, namespace: str, name: str) -> None:
        """A deployment is gone."""
        self._told.pop((namespace, name), None)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """As Prometheus asks. Labels are bounded: one candidate and at most 32 gates for each deployment."""
        whose = ["namespace", "deployment"]
        candidate = GaugeMetricFamily(
            "checkrein_rollout_candidate", "1 while a version is being checked.", labels=[*whose, "policy"]
        )
        step = GaugeMetricFamily(
            "checkrein_rollout_step", "Number of the canary step; 0 in every other.", labels=[*whose, "kind"]
        )
        weight = GaugeMetricFamily(
            "checkrein_rollout_weight", "Per cent of new units that the candidate gets.", labels=whose
        )
        gate = GaugeMetricFamily(
            "checkrein_rollout_gate", "1 for what each gate says.", labels=[*whose, "gate", "verdict"]
        )
        for names, status in sorted(self._told.items()):
            weight.add_metric(names, status.step.weight if status.step else 0)
            if status.candidate:
                candidate.add_metric([*names, status.candidate.name], 1)
            if status.step:
                step.add_metric([*names, status.step.kind], status.step.index)
            for each in status.gates:
                gate.add_metric([*names, each.name, each.verdict], 1)
        yield from (candidate, step, weight, gate)


ROLLOUTS = Rollouts()
REGISTRY.register(ROLLOUTS)
