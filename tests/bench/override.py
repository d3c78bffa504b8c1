"""`make bench-override`: a person changes spec.override -> the last decision of the old regime, within one episode.

A caller asks without a pause; the clock runs from before the change is sent to the API server until the last answer of
the old regime arrives. Without an operator, and with a stand-in for one that writes the status after each change.
"""

from __future__ import annotations

import argparse
import itertools
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from tests.agent import graphs
from tests.agent.installation import Deployment
from tests.bench.caller import Caller, Heard
from tests.bench.cluster_client import ClusterClient
from tests.bench.installation import SPEC, Installation, installation, ours
from tests.bench.report import Figure, write
from tests.bench.servers import started
from tests.cluster.steps import step

from checkrein.api.meta import API_VERSION

GOAL = "<= 250"
MOST_PAUSE = 0.05
STOPPED = "stopped"
NO_OVERRIDE = "Policy policy-1"


@dataclass(frozen=True)
class Change:
    """What a person writes, and how answers show it."""

    override: dict[str, Any] | None
    regime: str


def changes(count: int) -> Iterator[Change]:
    """Into each mode and out of it again, and from mode to mode."""
    away = Change(None, NO_OVERRIDE)
    action, other = Change(said("Action", action=[1]), "Action 1"), Change(said("Action", action=[0]), "Action 0")
    fallback, stop = Change(said("Fallback"), "Fallback 0"), Change(said("Stop"), STOPPED)
    pin = Change(said("Pin", policyVersion="policy-2"), "Pin policy-2")
    cycle = [action, away, fallback, away, pin, away, stop, away, action, other, pin, fallback, stop, action, away]
    return itertools.islice(itertools.cycle(cycle), count)


def said(mode: str, **fields: Any) -> dict[str, Any]:
    """A whole override, so that a merge patch leaves nothing of the last one."""
    until = None if mode == "Stop" else (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    unset = {"policyVersion": None, "action": None}
    return {"mode": mode, "reason": "a measurement", "by": "bench", "until": until, **unset, **fields}


def main() -> None:
    """`python -m tests.bench.override`."""
    parser = argparse.ArgumentParser("override")
    parser.add_argument("--changes", type=int, default=300, help="how many, in each of both situations")
    options = parser.parse_args()
    found: list[Figure] = []
    with installation() as surroundings:
        for operator in (False, True):
            situation = "operator alive" if operator else "operator dead"
            with step(f"{options.changes} changes, {situation}"):
                found += figures(situation, run(surroundings, options.changes, operator=operator))
    write("override", found, changes=options.changes)


def run(surroundings: Installation, count: int, *, operator: bool) -> dict[str, list[float]]:
    """Milliseconds by metric, one for each change. Raises RuntimeError where one does not take hold."""
    deployment = surroundings.deployment({**SPEC, "fallback": {"action": [0]}})
    pin(deployment, surroundings)
    running = started(ours(surroundings, deployment), surroundings.state)
    cluster = ClusterClient(deployment)
    caller, standin = Caller(running.target), Operator(ClusterClient(deployment))
    caller.start()
    if operator:
        standin.start()
    try:
        caller.until(NO_OVERRIDE, 0, 30)
        learn_pin(cluster, caller)
        return measured(cluster, caller, standin, count)
    finally:
        caller.stop()
        if operator:
            standin.stop()
        running.stop()


def measured(cluster: ClusterClient, caller: Caller, standin: Operator, count: int) -> dict[str, list[float]]:
    """Each change after the one before has taken hold and a moment has passed."""
    rng = random.Random(0)
    times: dict[str, list[float]] = {"from the change's start": [], "from the API server's answer": [], "write": []}
    for number, change in enumerate(changes(count)):
        time.sleep(rng.uniform(0, MOST_PAUSE))
        since, began = len(caller.heard), time.monotonic()
        cluster.patch({"spec": {"override": change.override}})
        written = time.monotonic()
        standin.changed(number)
        caller.until(change.regime, since)
        time.sleep(
            MOST_PAUSE
        )  # an answer of the old regime after the first of the new one would be a fault: wait for it
        last = last_of_old(caller.heard[since:], change.regime)
        times["from the change's start"].append(1000 * max(0, last - began) if last else 0)
        times["from the API server's answer"].append(1000 * max(0, last - written) if last else 0)
        times["write"].append(1000 * (written - began))
    return times


def last_of_old(heard: list[Heard], wanted: str) -> float:
    """When the last answer of another regime arrived; 0 where there was none."""
    return max((h.at for h in heard if h.regime != wanted), default=0)


def figures(situation: str, times: dict[str, list[float]]) -> list[Figure]:
    """Percentiles; the goal is for what the person waits who changes it."""
    found = []
    for what, values in times.items():
        goal = GOAL if what == "from the change's start" else None
        label = "the write itself" if what == "write" else f"last old decision {what}"
        for share in (50, 99, 100):
            name = "max" if share == 100 else f"p{share}"
            value = float(np.percentile(values, share))
            found.append(Figure(f"{label}, {situation}: {name}", value, "ms", goal if share == 99 else None))
    return found


def pin(deployment: Deployment, surroundings: Installation) -> None:
    """A PolicyVersion that an override can name."""
    pointer = surroundings.library.publish("policy-2", graphs.always(1))
    digest = pointer.artifact.digest
    provenance = {"trainingJob": "policy", "uid": "u", "attempt": 1, "seed": 0, "image": "i", "algorithm": "PPO"}
    spec = {
        "policy": "policy",
        "version": 2,
        "artifact": pointer.artifact.dump(),
        "interface": pointer.interface.dump(),
        "environment": {"name": "cartpole", "digest": digest},
        "provenance": provenance,
        "evaluation": {"episodes": 1, "mean": "1"},
    }
    metadata = {"name": "policy-2", "namespace": deployment.namespace}
    deployment.kubectl.apply(
        {"apiVersion": API_VERSION, "kind": "PolicyVersion", "metadata": metadata, "spec": spec},
        namespace=deployment.namespace,
    )


def learn_pin(cluster: ClusterClient, caller: Caller) -> None:
    """The first pin loads its policy, which is another thing than a change; it stays in memory afterwards."""
    for change in (Change(said("Pin", policyVersion="policy-2"), "Pin policy-2"), Change(None, NO_OVERRIDE)):
        since = len(caller.heard)
        cluster.patch({"spec": {"override": change.override}})
        caller.until(change.regime, since, 60)


class Operator(threading.Thread):
    """Does to the object what an operator does: writes its status after each change."""

    def __init__(self, cluster: ClusterClient) -> None:
        super().__init__(daemon=True)
        self._cluster = cluster
        self._wake, self._stopped, self._number = threading.Event(), False, 0

    def changed(self, number: int) -> None:
        """A change was made."""
        self._number = number
        self._wake.set()

    def run(self) -> None:
        """Until stopped."""
        while self._wake.wait() and not self._stopped:
            self._wake.clear()
            self._cluster.patch({"status": {"replicas": self._number % 2, "readyReplicas": 1}}, "/status")

    def stop(self) -> None:
        """Ends it."""
        self._stopped = True
        self._wake.set()
        self.join(15)


if __name__ == "__main__":
    main()
