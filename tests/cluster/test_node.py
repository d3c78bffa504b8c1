"""The node: pods run on it as on any Kubernetes, and nothing of it is left when it or its owner goes."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import cgroups, node, system
from tests.cluster.cache import REPOSITORY
from tests.cluster.cluster import Cluster
from tests.cluster.layout import Layout
from tests.cluster.processes import Identity, State, run, sweep
from tests.cluster.steps import ClusterError, wait_until

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
    "readOnlyRootFilesystem": True,
}
STARTS_A_NODE = """
import sys
from tests.cluster import images, node
cluster = node.start(sys.argv[1], owned=True)
cluster.load({"base": images.references()["base"]})
print("up", flush=True)
sys.stdin.read()
"""

# Where Kubernetes' parts write unless something stops them.
FIXED_PATHS = ("/var/lib/kubelet", "/var/lib/cni", "/opt/containerd", "/usr/libexec/kubernetes", "/var/log/pods")

pytestmark = pytest.mark.cluster


def pod(name: str, image: str, command: list[str]) -> dict[str, Any]:
    container = {"name": "only", "image": image, "command": command, "securityContext": RESTRICTED}
    spec = {"restartPolicy": "Never", "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def finished(cluster: Cluster, name: str, namespace: str = "default") -> dict[str, Any]:
    """The pod once it has ended."""

    def ended() -> bool:
        status = cluster.kubectl.get("pod", name, namespace=namespace)["status"]
        return status["phase"] in ("Succeeded", "Failed")

    wait_until(ended, 300, otherwise=lambda: ClusterError(cluster.kubectl("describe", "pod", name, "-n", namespace)))
    return cluster.kubectl.get("pod", name, namespace=namespace)


@pytest.mark.parametrize("service", system.SERVICES)
def test_a_service_that_its_package_did_not_start_need_not_be_stopped(cluster: Cluster, service: str) -> None:
    system.stop(service)  # what bringing the cluster up does where the package is new
    system.stop(service)


def test_a_pod_runs_and_its_log_is_read(cluster: Cluster) -> None:
    cluster.kubectl.apply(pod("speaks", cluster.images["agent"], ["echo", "spoken"]))
    assert finished(cluster, "speaks")["status"]["phase"] == "Succeeded"
    assert cluster.kubectl("logs", "speaks") == "spoken\n"


@pytest.mark.parametrize(
    ("image", "command"),
    [
        pytest.param("operator", ["python", "-c", "import checkrein.control.main"], id="operator"),
        pytest.param("trainer", ["python", "-c", "import checkrein.train.trainer"], id="trainer"),
        pytest.param("agent", ["python", "-c", "import checkrein.agent.main"], id="agent"),
        pytest.param("minio", ["minio", "--version"], id="minio"),
    ],
)
def test_an_image_of_ours_runs_under_the_restricted_standard(cluster: Cluster, image: str, command: list[str]) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.kubectl.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "restricted", "labels": labels}}
    )
    wait_until(  # before it no pod is taken
        lambda: "default" in cluster.kubectl("get", "serviceaccounts", "-n", "restricted"),
        180,
        otherwise=lambda: ClusterError("no service account"),
    )
    cluster.kubectl.apply(pod(image, cluster.images[image], command), namespace="restricted")
    state = finished(cluster, image, "restricted")["status"]
    assert state["phase"] == "Succeeded", cluster.kubectl("logs", image, "-n", "restricted")


def test_a_pod_names_its_image_by_digest_and_that_name_works(cluster: Cluster) -> None:
    cluster.kubectl.apply(pod("by-tag", cluster.images["agent"], ["true"]))
    named = finished(cluster, "by-tag")["status"]["containerStatuses"][0]["imageID"]
    assert named.startswith(cluster.images["agent"].rpartition(":")[0] + "@sha256:")
    cluster.kubectl.apply(pod("by-digest", named, ["true"]))
    assert finished(cluster, "by-digest")["status"]["containerStatuses"][0]["imageID"] == named


def test_a_service_is_reached_by_name_from_a_pod(cluster: Cluster) -> None:
    asks = (
        "import socket; socket.create_connection(('kubernetes.default.svc.cluster.local', 443), 10); print('reached')"
    )
    cluster.kubectl.apply(pod("asks", cluster.images["agent"], ["python3", "-c", asks]))
    finished(cluster, "asks")
    assert cluster.kubectl("logs", "asks") == "reached\n"


@pytest.mark.parametrize("end", ["down", "killed"])
def test_nothing_is_left_of_a_node(end: str, cluster: Cluster) -> None:
    name = node.free_name("gone")
    fixed = [path for path in FIXED_PATHS if Path(path).exists()]
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTS_A_NODE, name], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert starter.stdout is not None
    assert starter.stdout.readline() == b"up\n"
    state = State.named(f"node-{name}")
    layout = Layout.load(state.path)
    [process] = state.processes
    inside = family(process.pid)
    assert len(inside) > 9  # every part of Kubernetes
    assert {"link", "route", "control group", "folder"} <= set(traces(layout))

    if end == "down":
        node.down(name)
    starter.send_signal(signal.SIGKILL)
    starter.communicate()
    sweep()
    wait_until(lambda: not alive(inside), 180, otherwise=lambda: ClusterError(f"{alive(inside)} live on."))
    wait_until(lambda: not traces(layout), 180, otherwise=lambda: ClusterError(f"Left over: {traces(layout)}"))
    assert [path for path in FIXED_PATHS if Path(path).exists()] == fixed
    assert cluster.kubectl("get", "--raw", "/readyz") == "ok"  # the other node is none the worse


def alive(processes: list[Identity]) -> list[Identity]:
    return [process for process in processes if process.alive()]


def family(pid: int) -> list[Identity]:
    """A process and all that descend from it, but for those that end meanwhile, as what sets a pod up does."""
    found, children = [], []
    with suppress(FileNotFoundError, ProcessLookupError):
        found = [Identity.of(pid)]
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            children += path.read_text().split()
    return [*found, *(member for child in children for member in family(int(child)))]


def traces(layout: Layout) -> dict[str, list[str]]:
    """What the machine still shows of a node: kind of thing -> the lines that tell of it."""
    shown = {
        "link": run("ip", ["ip", "-brief", "link"]),
        "route": run("ip", ["ip", "route"]),
        "network namespace": run("ip", ["ip", "netns"]),
        "mount": Path("/proc/mounts").read_text(),
        "packet filter": run("nft", ["nft", "list", "ruleset"]),
        "folder": "\n".join(str(state.path) for state in State.all()),
        "control group": "\n".join(str(group) for root in cgroups.roots() for group in root.glob("checkrein-*")),
    }
    marks = (layout.outer, f"10.{layout.block}.", layout.node, str(layout.folder))
    found = {
        kind: [line for line in text.splitlines() if any(mark in line for mark in marks)]
        for kind, text in shown.items()
    }
    return {kind: lines for kind, lines in found.items() if lines}
