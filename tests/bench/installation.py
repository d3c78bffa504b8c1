"""What a replica stands between in a benchmark: a real API server, a real MinIO, and a deployment with every extra."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
from tests.agent.installation import Deployment, Library
from tests.agent.replica import Replica
from tests.bench import network
from tests.bench.load import CLIENT_CORE, Target, pinned
from tests.bench.servers import OBSERVATIONS, Running, Server
from tests.cluster.controlplane import ControlPlane
from tests.cluster.minio import Minio
from tests.cluster.processes import State, sweep

# Limits that grant everything still count everything; the rule holds for what no observation here shows. No fallback:
# its action would be an answer before the policy is there.
SPEC: Mapping[str, Any] = {
    "auth": {"mode": "ServiceAccount"},
    "limits": {
        "decisionsPerSecond": 1_000_000,
        "burst": 1_000_000,
        "perClient": {"decisionsPerSecond": 1_000_000, "burst": 1_000_000},
    },
    "shield": [{"name": "stay-on-the-track", "when": "observation[0] > 2.0", "forbid": [1]}],
}
EPISODE_STEPS = 200


class Installation:
    """API server and MinIO, on the client's core; replicas of ours on the server's."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.state = self._state("bench")
        with pinned(CLIENT_CORE):
            self.controlplane = ControlPlane(self._state("bench-controlplane"))
            self.library = Library(Minio(self._state("bench-minio")))
        self.controlplane.kubectl.apply_crds()

    def deployment(self, spec: Mapping[str, Any] = SPEC) -> Deployment:
        """In a namespace of its own."""
        return Deployment(self.controlplane, f"bench-{secrets.token_hex(4)}", spec)

    def _state(self, name: str) -> State:
        state = State.create(f"{name}-{os.getpid()}", owned=True)
        self._stack.callback(state.remove)
        return state


@contextmanager
def installation() -> Iterator[Installation]:
    """Gone when left, however that happens."""
    sweep()
    with ExitStack() as stack:
        yield Installation(stack)


def ours(surroundings: Installation, deployment: Deployment, **options: Any) -> Server:
    """A replica of the deployment, its policy in the store and its word from the API server; options are Replica's."""
    deployment.set_status(1, surroundings.library.publish("policy-1", network.graph(1), files=network.layers(1)))
    bodies = [json.dumps(observation) for observation in OBSERVATIONS]

    def start(state: State) -> Running:
        replica = Replica(state, surroundings.library, deployment, **options)
        target = Target(
            replica.port, "/v1/act", bodies, EPISODE_STEPS, f"Bearer {deployment.token()}", stream="/v1/stream"
        )
        return Running(target, psutil.Process(replica.process.identity.pid), management=replica.management)

    return Server("checkrein", start)


def shadowed(surroundings: Installation) -> Server:
    """Ours, with a candidate of the same size that is asked about every decision beside the stable policy."""
    deployment = surroundings.deployment({**SPEC, "strategy": {"shadow": {"units": 1000}}})
    stable, candidate = (
        surroundings.library.publish(f"policy-{n}", network.graph(n), files=network.layers(n)) for n in (1, 2)
    )
    began = "2026-12-01T00:00:00Z"
    server = ours(surroundings, deployment)
    deployment.set_status(
        2,
        stable,
        candidate,
        step={"kind": "Shadow", "weight": 0, "since": began},
        rollout={"id": "policy-2.1", "seed": "5eed", "began": began},
    )
    return Server(f"{server.name}, with a shadow", server.start)


def model_file(folder: Path) -> Path:
    """The network as the others want it: a file."""
    path = folder / "policy.onnx"
    path.write_bytes(network.graph(1))
    return path
