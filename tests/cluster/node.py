"""A real Kubernetes of one node, in namespaces of its own on this machine. Several with different names coexist.

Killing one process ends all of it: processes, mounts, network. What is left then, a control group and a folder,
`down` removes, or the next run where the owner was killed.
"""

from __future__ import annotations

import itertools
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cluster import binaries, images
from tests.cluster.cache import REPOSITORY, locked
from tests.cluster.cluster import LOADING, Cluster
from tests.cluster.controlplane import wait_ready
from tests.cluster.kubectl import KubectlError
from tests.cluster.layout import Layout
from tests.cluster.processes import Process, State, run
from tests.cluster.steps import say, step
from tests.cluster.system import IMAGE_TOOLS, NODE_TOOLS, require

NAMESPACES = ("--mount", "--net", "--pid", "--uts", "--propagation", "private", "--mount-proc")


def up(name: str, *, owned: bool = False) -> Cluster:
    """Brings up the node of that name with the images of this checkout, or finds it running. Raises ClusterError.

    An owned one ends with this process (call it from the main thread); another one runs until `down`.
    """
    require(NODE_TOOLS | IMAGE_TOOLS)
    with locked(f"node-{name}"), ThreadPoolExecutor() as pool:
        built = pool.submit(images.build)
        cluster = None if owned else running(name)
        if cluster is None:
            down(name)
            cluster = start(name, owned=owned)
        cluster.load(built.result())
    return cluster


def running(name: str) -> Cluster | None:
    """The node of that name, if its API server answers."""
    state = State.named(_folder(name))
    if not any(process.alive() for process in state.processes):
        return None
    cluster = Cluster(Layout.load(state.path).kubeconfig)
    try:
        cluster.kubectl("get", "--raw", "/readyz", seconds=10)
    except KubectlError:
        return None
    return cluster


def down(name: str) -> None:
    """Ends the node of that name and removes all of it but its images in the cache."""
    state = State.named(_folder(name))
    if state.path.exists():
        with step(f"removing node {name}"):
            state.remove()


def free_name(name: str) -> str:
    """The name, or the first of NAME-2, NAME-3, ... that no node has, so that two test runs do not meet."""
    names = (f"{name}-{number}" if number > 1 else name for number in itertools.count(1))
    return next(name for name in names if not State.named(_folder(name)).path.exists())


def start(name: str, *, owned: bool) -> Cluster:
    """A new node that has no images yet. Raises FileExistsError where one of that name runs, ClusterError."""
    binaries.kube()
    state = State.create(_folder(name), owned=owned, cgroup=f"checkrein-{name}")
    try:
        layout = Layout.choose(name, state.path, _routes())
        with step(f"starting node {name}"):
            layout.write()
            inside = [sys.executable, "-m", "tests.cluster.inside", str(state.path)]
            unshare = ["unshare", *NAMESPACES, "--fork", "--kill-child"]
            process = state.start("node", [*unshare, *inside], cwd=REPOSITORY)
            _connect(process, layout)
            wait_ready(process, layout.kubeconfig)
        cluster = Cluster(layout.kubeconfig)
        with step("waiting for the node to be ready"):
            process.wait_ready(lambda: _is_ready(cluster, layout.node))
        return cluster
    except BaseException:
        say(f"the logs of node {name} are in {state.path}/log")
        for part in state.processes:
            part.kill()
        raise


def _connect(process: Process, layout: Layout) -> None:
    """Joins the node's network namespace to the machine's by a pair of links. They vanish with the namespace."""
    pid = process.identity.pid
    ours = Path("/proc/self/ns/net").readlink()
    process.wait_ready(lambda: Path(f"/proc/{pid}/ns/net").readlink() != ours, 60)
    outer, inner = layout.outer, layout.inner
    run("ip", ["ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", str(pid)])
    run("ip", ["ip", "address", "add", f"{layout.gateway}/30", "dev", outer])
    run("ip", ["ip", "link", "set", outer, "up"])
    run("ip", ["ip", "route", "add", layout.network, "via", layout.address])


def _is_ready(cluster: Cluster, node: str) -> bool:
    """True once pods can be created and run."""
    try:
        conditions = cluster.kubectl.get("node", node)["status"].get("conditions", [])
        for namespace in ("default", LOADING):  # no pod is taken before its namespace has one
            cluster.kubectl.get("serviceaccount", "default", namespace=namespace)
    except KubectlError:
        return False
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _routes() -> list[str]:
    """The networks that the machine already reaches."""
    lines = run("ip route", ["ip", "-4", "route", "show", "table", "main"]).splitlines()
    return [line.split()[0] for line in lines if line and line[0].isdigit()]


def _folder(name: str) -> str:
    return f"node-{name}"
