"""A small installation of real processes, and a Prometheus that watches its whole story."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.api.server import Server
from tests.cluster.controlplane import ControlPlane
from tests.cluster.minio import Minio
from tests.cluster.processes import State, free_port
from tests.control.conftest import Operator, named_kubeconfig
from tests.control.objects import ENVIRONMENT, job
from tests.monitoring.boards import MONITORING
from tests.monitoring.living import Callers, Living
from tests.monitoring.prometheus import Prometheus, Target, fixed
from tests.train import conftest as training

from checkrein.api.tasks import AUDIENCE, StoreCredentials, StoreLocation
from checkrein.store import buckets
from checkrein.store.client import Store

NAMESPACE, JOB, AGENT = "watched", "c", "cartpole"
ACCOUNT = "checkrein-operator"
SCRAPES = 5
GATES = [
    {
        "name": "return",
        "metric": "return",
        "role": "Prove",
        "test": "NonInferior",
        "margin": {"of": "Range", "value": "0.0001"},
    },
    {"name": "errors", "metric": "errors", "test": "NotAbove", "limit": "0.01"},
]
SPEC: dict[str, Any] = {
    "policyVersion": "cartpole-1",
    "replicas": 2,
    "auth": {"mode": "None"},
    "exploration": {"epsilonGreedy": {"epsilon": "0.1"}},
    "shield": [{"name": "edge", "when": "observation[0] > 2.0", "forbid": [1]}],
    "fallback": {"action": [0]},
    "strategy": {"shadow": {"units": 10}, "canary": {"steps": [{"weight": 50, "units": 100_000}], "gates": GATES}},
}
OVERRIDE = {"mode": "Action", "action": [0], "reason": "a test", "by": "somebody", "until": "2090-01-01T00:00:00Z"}


NAMES = {"training": JOB, "rollout": AGENT, "agent": AGENT}


def variables(board: str) -> dict[str, str]:
    """A dashboard's variables, as a person would choose them."""
    return {"__rate_interval": "4s", "namespace": NAMESPACE, "name": NAMES.get(board, "")}


@dataclass
class Watched:
    """What was watched, and between which moments (Unix time)."""

    prometheus: Prometheus
    start: float
    end: float = field(default=0.0)
    begun: float = field(default=0.0)  # before there was an agent; Prometheus began later


@contextmanager
def watch(controlplane: ControlPlane, minio: Minio, folder: Path) -> Iterator[Watched]:
    """An environment, two published policies, a third in training, an agent with a rollout, and an override."""
    state, own = (State.create(f"watched-{os.getpid()}{part}", owned=True) for part in ("", "-operator"))
    living = None
    try:
        trainer = _trainer(state, minio, folder)
        operator = _operator(own, controlplane, minio)
        living = Living(controlplane, state, Server(controlplane.kubeconfig))
        _publish(living)
        begun = time.time()
        living.create("AgentDeployment", NAMESPACE, {"metadata": {"name": AGENT}, "spec": SPEC})
        living.until(lambda: len(living.addresses) == 2, "two replicas")
        prometheus = Prometheus(state, fixed(_targets(living, operator, trainer)), MONITORING / "alerts.yaml")
        seen = Watched(prometheus, time.time(), begun=begun)
        with Callers(lambda: list(living.addresses.values())):
            _story(living)
            _scrapes(seen, living)
        seen.end = time.time()
        yield seen
    finally:
        if living:
            living.close()
        state.remove()
        own.remove()


def _operator(own: State, controlplane: ControlPlane, minio: Minio) -> Operator:
    """With an account that replicas tell evidence to."""
    kubeconfig = named_kubeconfig(controlplane)
    account = f"system:serviceaccount:default:{ACCOUNT}"
    controlplane.kubectl("create", "serviceaccount", ACCOUNT, "-n", "default")
    operator = Operator(own, kubeconfig, minio, resyncSeconds=2, progressSeconds=0.5, verifySeconds=2, account=account)
    token = controlplane.kubectl("create", "token", ACCOUNT, "-n", "default", "--audience", AUDIENCE)
    (own.path / "token").write_text(token)
    return operator


def _trainer(state: State, minio: Minio, folder: Path) -> str:
    """A real one that trains for longer than anybody watches; its address."""
    owner = StoreCredentials(access_key=minio.access_key, secret_key=minio.secret_key)
    location = StoreLocation(endpoint=minio.endpoint, secure=False, bucket=f"watched-{os.getpid()}")
    store = Store(location, lambda: owner)
    buckets.ensure(store, f"unused-{os.getpid()}", location.bucket)
    credentials = folder / "credentials.json"
    credentials.write_text(owner.model_dump_json(by_alias=True))
    steps = {"checkpoint": {"everySteps": 2000}, "algorithm": {"hyperparameters": {"n_steps": 256}}}
    spec = training.job_spec("PPO", 10**9, **steps)
    task = training.Job(store, credentials, credentials.parent, training.environment("CartPole-v1"), spec).training()
    port = free_port()
    env = {
        "PYTHONPATH": str(training.ROOT / "operator"),
        "OMP_NUM_THREADS": "1",
        "CHECKREIN_TASK": task.model_dump_json(by_alias=True),
        "CHECKREIN_REPORT": str(credentials.parent / "report.json"),
        "CHECKREIN_PORT": str(port),
        "CHECKREIN_CREDENTIALS": str(credentials),
    }
    state.start("trainer", [sys.executable, "-c", "from checkrein.train.trainer import main; main()"], env=env)
    return f"127.0.0.1:{port}"


def _publish(living: Living) -> None:
    """cartpole-1 and cartpole-2; then a job that goes on."""
    play = living.join(NAMESPACE)
    living.create("RLEnvironment", NAMESPACE, ENVIRONMENT)
    for name, seed in (("a", 0), ("b", 1)):
        living.create("TrainingJob", NAMESPACE, job(name, seed=seed))
        living.until_said("TrainingJob", NAMESPACE, name, "Complete", "Published")
    play.hold = {"trainer"}
    living.create("TrainingJob", NAMESPACE, job(JOB))


def _targets(living: Living, operator: Operator, trainer: str) -> list[Target]:
    """With the labels that the chart's PodMonitors add."""
    agents = [
        Target(living.scraped(pod), {"namespace": NAMESPACE, "name": AGENT, "pod": pod}) for pod in living.addresses
    ]
    job_ = {"namespace": NAMESPACE, "name": JOB, "pod": f"{JOB}-train-1-x"}
    return [Target(f"127.0.0.1:{operator.port}", {"pod": "checkrein-operator-0"}), Target(trainer, job_), *agents]


def _story(living: Living) -> None:
    """The first policy acts; the second goes through shadow into the canary, and is tested there."""

    def agent() -> dict[str, Any]:
        status: dict[str, Any] = (living.get("AgentDeployment", NAMESPACE, AGENT) or {}).get("status", {})
        return status

    living.until(lambda: agent().get("stable", {}).get("name") == "cartpole-1", "cartpole-1 decides")
    living.patch("AgentDeployment", NAMESPACE, AGENT, {"spec": {"policyVersion": "cartpole-2"}})
    living.until(lambda: (agent().get("step") or {}).get("kind") == "Canary", "cartpole-2 is in the canary")
    living.until(lambda: any(gate.get("interval") for gate in agent().get("gates", ())), "a gate has evidence")


def _scrapes(seen: Watched, living: Living) -> None:
    """Lets it go on for some scrapes, and for some more with a person's hand on the reins."""

    def scraped(metric: str, times: int, where: str = "") -> bool:
        """Whether the story's own series were: the API server may have others' objects."""
        query = f'min(count_over_time({metric}{{namespace="{NAMESPACE}"{where}}}[1h]))'
        found = seen.prometheus.get("query", query=query)["result"]
        return bool(found) and float(found[0]["value"][1]) >= times

    living.until(lambda: scraped("checkrein_training_checkpoint_timestamp_seconds", SCRAPES), "the trainer was scraped")
    for metric in ("checkrein_rollout_gate_difference_bound", "checkrein_rollout_gate_expected_units"):
        living.until(lambda metric=metric: scraped(metric, SCRAPES), f"{metric} was scraped")  # type: ignore[misc]
    living.patch("AgentDeployment", NAMESPACE, AGENT, {"spec": {"override": OVERRIDE}})
    living.until(
        lambda: scraped("checkrein_resource_condition", 3, ',type="Overridden",status="True"'),
        "the override was scraped",
    )
