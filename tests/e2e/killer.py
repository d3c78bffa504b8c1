"""Signals to a container's process from outside: SIGKILL, as the kernel's out-of-memory killer sends it; SIGSTOP.

From inside it cannot be done: a container's first process is deaf to what its own namespace sends it.
"""

from __future__ import annotations

from typing import Any

from tests.cluster.cluster import Cluster

NAMESPACE = "kube-system"
POD = "killer"
SCRIPT = 'kill -s "$1" $(grep --files-with-matches --no-messages "$0" /proc/[0-9]*/cgroup | cut -d / -f 3)'


class Killer:
    """A pod that sees all processes of the node."""

    def __init__(self, cluster: Cluster) -> None:
        self._kubectl = cluster.kubectl
        container = {"name": "killer", "image": cluster.images["base"], "command": ["sleep", "infinity"]}
        spec = {"hostPID": True, "terminationGracePeriodSeconds": 0, "containers": [container]}
        self._kubectl.apply(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD}, "spec": spec}, namespace=NAMESPACE
        )
        self._kubectl("-n", NAMESPACE, "wait", "--for=condition=Ready", f"pod/{POD}", "--timeout=180s", seconds=200)

    def kill(self, pod: dict[str, Any]) -> None:
        """Ends the one process of the pod's one container. Raises KubectlError where it runs no more."""
        self._send("KILL", pod)

    def stop(self, pod: dict[str, Any]) -> None:
        """It stands still, its connections stay open, nothing answers: what callers time out on."""
        self._send("STOP", pod)

    def go_on(self, pod: dict[str, Any]) -> None:
        """After `stop`. Raises KubectlError where it was ended meanwhile."""
        self._send("CONT", pod)

    def _send(self, signal: str, pod: dict[str, Any]) -> None:
        container = pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
        self._kubectl("-n", NAMESPACE, "exec", POD, "--", "sh", "-c", SCRIPT, container, signal)
