"""A thousand TrainingJobs at once, until each has its first Job; KubeRay's RayJobs, until each has its RayCluster.

Both on a control plane of their own without nodes, created over the same connections, by operators with their defaults.
A TrainingJob's Job comes with a store session of its own in a Secret; a RayJob's RayCluster is what its pods come from.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.api.server import Refused
from tests.bench.operator_world import World, environment, put_all
from tests.bench.report import Figure
from tests.cluster import binaries
from tests.cluster.processes import free_port
from tests.cluster.steps import ClusterError, step, wait_until
from tests.control.objects import job

from checkrein.api.meta import API_VERSION
from checkrein.control.kinds import KINDS

Raw = dict[str, Any]
KUBERAY = f"KubeRay {binaries.KUBERAY_VERSION.removeprefix('v')}"
NAMESPACE = "jobs"
PATIENCE = 1800.0
RAY = f"/apis/ray.io/v1/namespaces/{NAMESPACE}"


def ours(world: World, count: int) -> list[Figure]:
    """TrainingJobs of one environment, in one namespace."""
    world.namespace(NAMESPACE)
    world.put("RLEnvironment", NAMESPACE, environment(0))
    operator = world.operator()
    wait_until(lambda: operator.leads, 60, otherwise=lambda: ClusterError("it does not lead"))
    path, wanted = KINDS["TrainingJob"].path(NAMESPACE), environment(0)["metadata"]["name"]

    def create(number: int) -> Callable[[], object]:
        obj = job(f"job-{number}", environmentRef={"name": wanted})
        return partial(world.server.send, "POST", path, {"apiVersion": API_VERSION, "kind": "TrainingJob", **obj})

    with step(f"{count} TrainingJobs"):
        took, created = until_all(world, create, count, KINDS["Job"].path(NAMESPACE))
    operator.kill()
    return figures("Checkrein, TrainingJobs until each has its Job", took, created, count)


def kuberay(world: World, count: int) -> list[Figure]:
    """RayJobs, in one namespace. Raises ClusterError."""
    program, definitions = binaries.kuberay(), binaries.kuberay_definitions()
    world.plane.kubectl("apply", "--server-side", "-f", str(definitions))
    world.namespace(NAMESPACE)
    state = world.state("kuberay")
    options = [f"--metrics-addr=127.0.0.1:{free_port()}", f"--health-probe-bind-address=127.0.0.1:{free_port()}"]
    process = state.start(
        "kuberay",
        [program, *options, "--enable-leader-election=false"],
        env={"KUBECONFIG": str(world.plane.kubeconfig)},
    )
    process.wait_ready(lambda: is_served(world))
    world.server.send("POST", f"{RAY}/rayjobs", ray_job(0))  # before the clock runs: it works
    wait_until(lambda: counted(world, f"{RAY}/rayclusters") == 1, 120, otherwise=lambda: ClusterError("no RayCluster"))

    def create(number: int) -> Callable[[], object]:
        return partial(world.server.send, "POST", f"{RAY}/rayjobs", ray_job(number + 1))

    with step(f"{count} RayJobs"):
        took, created = until_all(world, create, count, f"{RAY}/rayclusters", before=1)
    process.stop()
    return figures(f"{KUBERAY}, RayJobs until each has its RayCluster", took, created, count)


def figures(who: str, took: float, created: float, count: int) -> list[Figure]:
    """As both are told."""
    return [
        Figure(f"{who}: took", took, "s"),
        Figure(f"{who}: after the last was created", took - created, "s"),
        Figure(f"{who}: rate", count / took, "objects/s"),
    ]


def until_all(
    world: World, create: Callable[[int], Callable[[], object]], count: int, children: str, *, before: int = 0
) -> tuple[float, float]:
    """Seconds from the first creation until all children exist, and until the last creation."""
    began = time.monotonic()
    put_all(create(number) for number in range(count))
    created = time.monotonic() - began

    def there() -> bool:
        return counted(world, children) >= count + before

    wait_until(there, PATIENCE, otherwise=lambda: ClusterError(f"{counted(world, children)} of {count} after long"))
    return time.monotonic() - began, created


def counted(world: World, path: str) -> int:
    """Objects there, by a list of one."""
    page = world.server.send("GET", f"{path}?limit=1")
    return len(page["items"]) + int(page["metadata"].get("remainingItemCount") or 0)


def is_served(world: World) -> bool:
    """Whether KubeRay's kinds are."""
    try:
        return bool(world.server.send("GET", f"{RAY}/rayjobs"))
    except Refused:
        return False


def ray_job(number: int) -> Raw:
    """The smallest that KubeRay takes: one head."""
    container = {"name": "head", "image": "registry.example/ray:2", "resources": {"requests": {"cpu": "1"}}}
    head = {"rayStartParams": {}, "template": {"spec": {"containers": [container]}}}
    spec = {"entrypoint": "python train.py", "rayClusterSpec": {"headGroupSpec": head}}
    return {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": f"job-{number}"}, "spec": spec}
