"""A Kubernetes that runs pods: the node on this machine, or the cluster that CHECKREIN_KUBECONFIG names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cluster.kubectl import Kubectl
from tests.cluster.steps import ClusterError, step, wait_until

LOADING = "kube-system"  # where the pods that fetch images run


class Cluster:
    """`kubeconfig` is a path, `kubectl` runs commands, `images` maps names to references that pods can use."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.kubectl = Kubectl(kubeconfig)
        self.images: Mapping[str, str] = {}

    def load(self, images: Mapping[str, str]) -> None:
        """Has the node fetch these images, side by side, by running a pod of each."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._fetch, images, images.values()))
        self.images = images

    def _fetch(self, name: str, image: str) -> None:
        """The pod needs nothing from the image but `true`."""
        pod = f"load-{name}"
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": pod},
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": name, "image": image, "command": ["true"]}],
            },
        }
        with step(f"loading image {name}"):
            self.kubectl("delete", "pod", pod, "-n", LOADING, "--ignore-not-found", "--now")
            self.kubectl.apply(body, namespace=LOADING)
            wait_until(lambda: self._ended(pod), 300, otherwise=lambda: self._failure(pod, image))
            if self._phase(pod) != "Succeeded":
                raise self._failure(pod, image)
            self.kubectl("delete", "pod", pod, "-n", LOADING, "--now", "--wait=false")

    def _phase(self, pod: str) -> str:
        return str(self.kubectl.get("pod", pod, namespace=LOADING)["status"]["phase"])

    def _ended(self, pod: str) -> bool:
        return self._phase(pod) in ("Succeeded", "Failed")

    def _failure(self, pod: str, image: str) -> ClusterError:
        events = self.kubectl("events", "-n", LOADING, "--for", f"pod/{pod}")
        return ClusterError(f"Image {image} does not run on the cluster:\n{events}")


def external() -> Cluster | None:
    """The cluster that CHECKREIN_KUBECONFIG names; an ambient KUBECONFIG is never used: it may be production."""
    named = os.environ.get("CHECKREIN_KUBECONFIG")
    if not named:
        return None
    if not Path(named).is_file():
        raise ClusterError(f"CHECKREIN_KUBECONFIG names {named}, which is not a file.")
    if not os.environ.get("CHECKREIN_REGISTRY"):
        raise ClusterError("CHECKREIN_KUBECONFIG needs CHECKREIN_REGISTRY: where images go that its nodes can pull.")
    return Cluster(Path(named))
