"""Two operators: how long nobody reconciles after the leader was killed, and after it was asked to stop."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.api.server import Refused
from tests.bench.operator_world import Mix, World
from tests.bench.report import Figure
from tests.cluster.steps import ClusterError, say, step, wait_until
from tests.control.conftest import Operator
from tests.control.objects import ENVIRONMENT

from checkrein.api.meta import API_VERSION
from checkrein.control.kinds import KINDS

NAMESPACE = "leaders"
PATIENCE = 120.0
POLL_SECONDS = 0.02


@dataclass
class Times:
    """Seconds from the leader's end until somebody had made the Job of an environment that was created then."""

    gaps: list[float] = field(default_factory=list)

    def figures(self, who: str, goal: str) -> list[Figure]:
        """Of a few dozen, p99 is the largest but for what interpolation takes off: the largest is told."""
        ordered = sorted(self.gaps)
        p99 = statistics.quantiles(ordered, n=100, method="inclusive")[98] if len(ordered) > 1 else None
        return [
            Figure(f"{who}: p50", statistics.median(ordered) if ordered else None, "s"),
            Figure(f"{who}: p99", p99, "s", goal),
            Figure(f"{who}: max", ordered[-1] if ordered else None, "s"),
            Figure(f"{who}: times", len(ordered), ""),
        ]


def leaders(world: World, objects: int, kills: int) -> list[Figure]:
    """Each time the other one leads, and the one that went comes back and waits."""
    with step(f"creating {objects} objects"):
        world.rest(Mix.of(objects))
    world.namespace(NAMESPACE)
    leader, other = world.operator(), world.operator()
    wait_until(lambda: leader.leads, PATIENCE, otherwise=lambda: ClusterError("nobody leads"))
    killed, asked = Times(), Times()
    for times, end in ((killed, Operator.kill), (asked, ask)):
        for number in range(kills):
            times.gaps.append(gap(world, leader, end, f"{end.__name__}-{number}"))
            leader.start()
            leader, other = other, leader
        say(f"{end.__name__}: {', '.join(f'{seconds:.1f}' for seconds in times.gaps)} s")
    return [
        *killed.figures(f"leader killed, {objects} objects at rest", "<= 20"),
        *asked.figures(f"leader asked to stop, {objects} objects at rest", "<= 3"),
    ]


def ask(operator: Operator) -> None:
    """SIGTERM; what it does until it is gone is part of the gap."""
    operator.process.terminate()


def gap(world: World, leader: Operator, end: Callable[[Operator], None], name: str) -> float:
    """One leader's end; returns once the other one acts and the old one is gone."""
    began = time.monotonic()
    end(leader)
    path = KINDS["RLEnvironment"].path(NAMESPACE)
    body = {"apiVersion": API_VERSION, "kind": "RLEnvironment", **ENVIRONMENT, "metadata": {"name": name}}
    world.server.send("POST", path, body)
    job = KINDS["Job"].path(NAMESPACE, f"{name}-probe-1")
    while not exists(world, job):
        if time.monotonic() - began > PATIENCE:
            raise ClusterError(f"nobody acts {PATIENCE:.0f} s after the leader's end")
        time.sleep(POLL_SECONDS)
    took = time.monotonic() - began
    wait_until(lambda: not leader.process.alive(), PATIENCE, otherwise=lambda: ClusterError("the old leader runs on"))
    return took


def exists(world: World, path: str) -> bool:
    """Whether the API server has it."""
    try:
        return bool(world.server.send("GET", path))
    except Refused as refused:
        if refused.status == 404:
            return False
        raise
