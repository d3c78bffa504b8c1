"""Where the operator is measured: an API server, a MinIO, operators as processes, and many objects that rest.

There are no nodes and no controllers but ours, so nothing but the operator and the bench writes.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from tests.api.server import MERGE, Server
from tests.bench import network
from tests.cluster.controlplane import ControlPlane
from tests.cluster.minio import Minio
from tests.cluster.processes import State, sweep
from tests.control import builders
from tests.control.audit import USER
from tests.control.conftest import Operator, named_kubeconfig
from tests.control.objects import ENVIRONMENT, job

from checkrein.api.meta import API_VERSION
from checkrein.api.policy import Artifact
from checkrein.api.tasks import StoreCredentials
from checkrein.control.kinds import KINDS
from checkrein.store import artifacts
from checkrein.store.client import Store

Raw = dict[str, Any]
TENANTS = 10
ARTIFACTS = 40
CONNECTIONS = 8
LEASE = "default/checkrein-operator"
SAMPLE = re.compile(r"^(?P<name>[a-z_]+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Mix:
    """How many objects of each kind rest."""

    versions: int
    jobs: int
    environments: int
    agents: int

    @classmethod
    def of(cls, objects: int) -> Mix:
        """Four versions and four jobs to each environment and each agent."""
        tenth = objects // 10
        return cls(4 * tenth, objects - 6 * tenth, tenth, tenth)


class World:
    """One control plane with Checkrein's kinds, and a store."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._numbers = itertools.count(1)
        self.plane = ControlPlane(self.state("plane"))
        self.minio = Minio(self.state("minio"))
        self.kubeconfig = named_kubeconfig(self.plane)
        self.server = Server(self.plane.kubeconfig)

    def state(self, name: str) -> State:
        """A folder that is gone with the world."""
        state = State.create(f"bench-operator-{name}-{os.getpid()}-{next(self._numbers)}", owned=True)
        self._stack.callback(state.remove)
        return state

    def operator(self, **settings: object) -> Operator:
        """One more candidate for the lease, with the chart's settings. It is ready."""
        return Operator(self.state("operator"), self.kubeconfig, self.minio, lease=LEASE, **settings)

    def namespace(self, name: str) -> str:
        """A new one."""
        self.server.send("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        return name

    def rest(self, mix: Mix) -> list[str]:
        """So many objects as they are when all is done, before any operator has seen them. Returns the namespaces."""
        tenants = [self.namespace(f"tenant-{number}") for number in range(TENANTS)]
        stored = self._policies()
        for kind, count, made in (
            ("RLEnvironment", mix.environments, environment),
            ("TrainingJob", mix.jobs, finished),
            ("PolicyVersion", mix.versions, partial(version, stored)),
            ("AgentDeployment", mix.agents, partial(agent, stored)),
        ):
            put_all(partial(self.put, kind, tenants[n % TENANTS], made(n)) for n in range(count))
        return tenants

    def put(self, kind: str, namespace: str, obj: Raw) -> None:
        """Creates it, then its status."""
        body = {"apiVersion": API_VERSION, "kind": kind, **{key: obj[key] for key in obj if key != "status"}}
        self.server.send("POST", KINDS[kind].path(namespace), body)
        if "status" in obj:
            path = KINDS[kind].path(namespace, obj["metadata"]["name"], "status")
            self.server.send("PATCH", path, {"status": obj["status"]}, content_type=MERGE)

    def _policies(self) -> list[Artifact]:
        """Published as the operator does; versions share them, and each version's bytes are verified for itself."""
        owner = StoreCredentials(access_key=self.minio.access_key, secret_key=self.minio.secret_key)
        operator = self.operator()  # makes the buckets
        operator.kill()
        runs = Store(operator.location.model_copy(update={"write_prefix": "runs/bench/"}), lambda: owner)
        policies = Store(operator.location.model_copy(update={"bucket": "policies"}), lambda: owner)
        made = []
        for seed in range(ARTIFACTS):
            files = {"policy.onnx": network.graph(seed), **network.layers(seed)}
            manifest = artifacts.export(runs, files, builders.CARTPOLE, "PPO", 17)
            made.append(artifacts.publish(runs, policies, manifest))
        return made


@contextmanager
def world() -> Iterator[World]:
    """Gone when left, however that happens."""
    sweep()
    with ExitStack() as stack:
        yield World(stack)


def put_all(puts: Iterable[Callable[[], object]]) -> None:
    """All of them, over a few connections."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for _ in pool.map(lambda put: put(), puts):
            pass


def environment(number: int) -> Raw:
    """One that was probed."""
    status = builders.ready_environment().status.dump()
    return {"metadata": {"name": f"env-{number}"}, "spec": ENVIRONMENT["spec"], "status": status}


def finished(number: int) -> Raw:
    """A TrainingJob that published long ago; its Jobs are cleaned up."""
    status = {**builders.ended("Complete", "Published"), "phase": "Succeeded"}
    return {**job(f"job-{number}"), "status": status}


def version(stored: list[Artifact], number: int) -> Raw:
    """A PolicyVersion that nobody has verified yet."""
    name = f"policy-{number + 1}"
    spec = builders.version(name).spec.dump() | {"artifact": stored[number % ARTIFACTS].dump()}
    return {"metadata": {"name": name}, "spec": spec}


def agent(stored: list[Artifact], number: int) -> Raw:
    """One that acted by a version, and was scaled to zero."""
    name = f"policy-{number + 1}"
    pointer = builders.pointer(name).model_copy(update={"artifact": stored[number % ARTIFACTS]})
    spec = {"policyVersion": name, "replicas": 0}
    return {"metadata": {"name": f"agent-{number}"}, "spec": spec, "status": {"stable": pointer.dump(), "epoch": 1}}


def metrics(operator: Operator) -> dict[str, float]:
    """What it tells Prometheus: by name, summed over labels, and by name with labels."""
    found: dict[str, float] = {}
    for sample in SAMPLE.finditer(operator.get("/metrics")[1]):
        name, value = sample["name"], float(sample["value"])
        found[name] = found.get(name, 0.0) + value
        if sample["labels"]:
            found[f"{name}{{{sample['labels']}}}"] = value
    return found


def process(operator: Operator) -> psutil.Process:
    """It, to be measured."""
    return psutil.Process(operator.process.identity.pid)


def processor(operator: Operator) -> float:
    """Seconds that it has computed."""
    user, system, *_ = process(operator).cpu_times()
    return float(user + system)


def requests(log: Path, since: int) -> Iterator[Raw]:
    """What operators asked of the API server since the log had this size."""
    with log.open() as file:
        file.seek(since)
        for line in file:
            if USER in line and line.endswith("}\n"):
                event = json.loads(line)
                if event["user"]["username"] == USER:
                    yield event
