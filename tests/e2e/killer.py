"""SIGKILL to a container's process from outside, as the kernel's out-of-memory killer sends it.

From inside it cannot be done: a container's first process is deaf to its own namespace's SIGKILL.
"""

from __future__ import annotations

from typing import Any

from tests.cluster.cluster import Cluster

NAMESPACE = "kube-system"
POD = "killer"
SCRIPT = 'kill -9 $(grep --files-with-matches --no-messages "$0" /proc/[0-9]*/cgroup | cut -d / -f 3)'


class Killer:
    """A pod that sees all processes of the node."""

    def __init__(self, cluster: Cluster) -> None:
        self._kubectl = cluster.kubectl
        container = {"name": "killer", "image": cluster.images["base"], "command": ["sleep", "infinity"]}
        spec = {"hostPID": True, "terminationGracePeriodSeconds": 0, "containers": [container]}
        self._kubectl.apply(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD}, "spec": spec}, namespace=NAMESPACE
        )
        self._kubectl("-n", NAMESPACE, "wait", "--for=condition=Ready", f"pod/{POD}", "--timeout=60s")

    def kill(self, pod: dict[str, Any]) -> None:
        """Ends the one process of the pod's one container. Raises KubectlError where it runs no more."""
        container = pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
        self._kubectl("-n", NAMESPACE, "exec", POD, "--", "sh", "-c", SCRIPT, container)
