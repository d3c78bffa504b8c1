"""Checkrein's own rollouts on the cluster: a breach in the middle of a canary, and rollbacks.

Each breach has an AgentDeployment of its own, so that each candidate is tried for the first time: a version's k-th try
spends less alpha, and would take more evidence. The versions are real ones, trained for a moment.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.bench.rollout_api import Api
from tests.bench.rollout_load import AgentPlayer, Load, last
from tests.bench.rollout_times import MARGIN, Times, UnendingError, moment, quiet_since, until
from tests.cluster.cluster import Cluster
from tests.cluster.steps import ClusterError, say, step
from tests.e2e.world import API_VERSION, SMALL, World

from checkrein.agent.state import FORMER_KEPT

NAMESPACE = "bench-rollout"
REPLICAS = 2
PLAYERS = 4  # at each replica
BEST = 500.0  # reward.bounds of tests.e2e.world: 0 and 500; an equal share of them is an equal case
LIMIT = 60.0
LOADED = "loaded, verified and warmed up"  # as agent/loader.py logs it
SETTLED = 0.5
VERSIONS = FORMER_KEPT + 2
"""So many in turn, and the next one is in no replica's memory, which keeps whoever acts and a few who did before."""

# A guard does not pass, so the canary goes on until the breach; its evidence for a failure is that of a proving gate.
GATE = {
    "name": "return",
    "metric": "return",
    "role": "Guard",
    "test": "NonInferior",
    "margin": {"of": "Range", "value": f"{MARGIN:g}"},
}
STRATEGY = {"canary": {"steps": [{"weight": 50, "units": 1_000_000}], "gates": [GATE]}}


class Ours:
    """A namespace with published versions."""

    def __init__(self, cluster: Cluster, api: Api, rate: float) -> None:
        self._world = World(cluster, NAMESPACE)
        self._api, self._rate = api, rate
        self.versions: list[str] = []

    def prepare(self, versions: int) -> None:
        """Trains so many versions, side by side, for a moment each."""
        self._world.create()
        self._world.cartpole()
        jobs = [f"job-{number}" for number in range(versions)]
        for seed, job in enumerate(jobs):
            self._world.train(job, seed=seed)
        self.versions = [self._world.trained(job) for job in jobs]

    def breaches(self, count: int) -> tuple[Times, Times]:
        """From the first bad episode on: until the candidate's last answer, and until the status says so."""
        stopped, told = Times(), Times()
        for number in range(count):
            with step(f"breach {number + 1} of {count}"):
                self._breach(f"breach-{number}", stopped, told)
        return stopped, told

    def _breach(self, name: str, stopped: Times, told: Times) -> None:
        stable, candidate = self.versions[:2]
        with self._deployed(name, stable) as load:
            since = len(load.heard)
            self._ask_for(name, candidate)
            until(lambda: len(load.places(candidate, since)) == REPLICAS, LIMIT, f"{candidate} is no canary")
            moment(0, 5)
            if self._rejected(name):
                raise ClusterError(f"{candidate} was rejected though it is as good: {self._status(name)}")
            began = load.spoil(candidate)
            try:
                until(lambda: self._rejected(name) == candidate, LIMIT, f"{candidate} stays", UnendingError)
                told.add(began, time.monotonic())
                stopped.add(began, quiet_since(load, candidate, began, LIMIT))
            except UnendingError as error:
                say(f"{name}: {error}: {self._status(name)}")
                stopped.unending += 1
        stopped.heard(load)

    def rollbacks(self, versions: int, count: int) -> tuple[Times, Times]:
        """So many versions in turn, each of which was stable before: in new episodes, and in running ones too.

        Two in turn: the one that comes back is in memory. `VERSIONS` in turn: it is in the store only.
        """
        new, running, name = Times(), Times(), f"back-{versions}"
        turn = self.versions[:versions]
        with step(f"{count} rollbacks, {versions} versions in turn"), self._deployed(name, turn[0]) as load:
            for version in turn[1:]:
                self._promote(name, version)
            quiet_since(load, turn[-2], time.monotonic(), LIMIT)
            since, failed, loads = len(load.heard), len(load.failed), self._loads(name)
            for number in range(count):
                self._back(load, name, turn[number % versions], new, running)
            new.heard(load, since, failed)
            new.loads = self._loads(name) - loads
        return new, running

    def _back(self, load: Load, name: str, version: str, new: Times, running: Times) -> None:
        """By the stopwatch of whoever writes: it starts before the change is sent."""
        moment(0, SETTLED)
        old, since = self._stable(name), len(load.heard)
        began = time.monotonic()
        self._ask_for(name, version)
        until(lambda: len(load.places(version, since)) == REPLICAS, LIMIT, f"{version} does not come back")
        quiet_since(load, old, began, LIMIT)
        heard = load.heard[since:]
        new.add(began, last(heard, old, begins=True))
        running.add(began, last(heard, old))

    def _promote(self, name: str, version: str) -> None:
        """A person says so; later it is a version that was stable before."""
        person = json.loads(self._world.kubectl("auth", "whoami", "-o", "json"))["status"]["userInfo"]["username"]
        self._ask_for(name, version, {"approve": {"policyVersion": version, "full": True, "by": person}})
        until(lambda: self._stable(name) == version, LIMIT, f"{version} is not promoted")

    @contextmanager
    def _deployed(self, name: str, version: str) -> Iterator[Load]:
        """A deployment that decides by this version, and its callers; gone when left."""
        spec: dict[str, Any] = {
            "policyVersion": version,
            "replicas": REPLICAS,
            "auth": {"mode": "None"},
            "episodeDeadline": "10s",
            "strategy": STRATEGY,
            "template": {"resources": SMALL},
        }
        self._world.apply("AgentDeployment", name, spec)
        try:
            until(lambda: self._decides(name, version), 2 * LIMIT, f"{version} does not decide")
            players = [AgentPlayer(address) for address in self._addresses(name) for _ in range(PLAYERS)]
            with Load(players, self._rate, BEST) as load:
                until(lambda: len(load.places(version)) == REPLICAS, LIMIT, f"no answers: {load.failed[-3:]}")
                yield load
        finally:
            self._world.kubectl("delete", "agentdeployment", name, "--ignore-not-found")

    def _loads(self, name: str) -> int:
        """Policies that its replicas have loaded, by their own logs: whether one was in memory is not assumed."""
        return self._world.kubectl("logs", "-l", _selector(name), "--tail=-1").count(LOADED)

    def _addresses(self, name: str) -> Sequence[str]:
        pods = self._world.items("pods", _selector(name))
        found = [pod["status"]["podIP"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        if len(found) != REPLICAS:
            raise ClusterError(f"{name} has the pods {found}, not {REPLICAS}")
        return found

    def _ask_for(self, name: str, version: str, words: object = None) -> None:
        self._api.patch(self._path(name), {"spec": {"policyVersion": version, "rollout": words}})

    def _status(self, name: str) -> dict[str, Any]:
        status: dict[str, Any] = self._api.get(self._path(name)).get("status", {})
        return status

    def _decides(self, name: str, version: str) -> bool:
        return self._stable(name) == version and self._status(name).get("readyReplicas") == REPLICAS

    def _stable(self, name: str) -> str:
        return str((self._status(name).get("stable") or {}).get("name", ""))

    def _rejected(self, name: str) -> str:
        """The version that was rejected last; empty for none."""
        return str(next((r["name"] for r in reversed(self._status(name).get("rejected", []))), ""))

    def _path(self, name: str) -> str:
        return f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/agentdeployments/{name}"


def _selector(name: str) -> str:
    return f"app.kubernetes.io/component=agent,checkrein.dev/name={name}"
