"""Kueue on the node, as its own manifests install it; only the program comes from the disk and not in an image."""

from __future__ import annotations

import json
from typing import Any

import yaml
from tests.cluster import binaries
from tests.cluster.cluster import Cluster
from tests.cluster.kubectl import KubectlError
from tests.cluster.steps import ClusterError, wait_until

Object = dict[str, Any]
NAMESPACE = "kueue-system"
API_VERSION = "kueue.x-k8s.io/v1beta2"
MANAGER = "kueue-controller-manager"
ROLLOUT_SECONDS = 300


def install(cluster: Cluster) -> None:
    """Returns once it is ready and its webhooks answer."""
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(_manifests(cluster)))
    deployment = f"deployment/{MANAGER}"
    cluster.kubectl(
        "-n", NAMESPACE, "rollout", "status", deployment, f"--timeout={ROLLOUT_SECONDS}s", seconds=ROLLOUT_SECONDS + 20
    )
    silent = ClusterError(f"Kueue's webhooks do not answer {ROLLOUT_SECONDS} s after its pod was ready")
    wait_until(lambda: _answers(cluster), ROLLOUT_SECONDS, otherwise=lambda: silent)


def uninstall(cluster: Cluster) -> None:
    """All of it. No queue may be left: only Kueue takes its finalizers away."""
    cluster.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=json.dumps(_manifests(cluster)), seconds=300)


def _answers(cluster: Cluster) -> bool:
    """A ready pod is not yet one that its Service reaches."""
    flavor = {"apiVersion": API_VERSION, "kind": "ResourceFlavor", "metadata": {"name": "asked"}, "spec": {}}
    try:
        cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(flavor))
    except KubectlError as exc:
        if "failed to call webhook" in str(exc):
            return False
        raise
    return True


def _manifests(cluster: Cluster) -> Object:
    rendered = cluster.kubectl("kustomize", str(binaries.kueue_manifests()))
    items = [obj for obj in yaml.safe_load_all(rendered) if obj["kind"] != "APIService"]  # it only shows queues' order
    for obj in items:
        if obj["kind"] == "Deployment":
            _from_disk(obj["spec"]["template"]["spec"], cluster.images["base"])
        elif obj["metadata"]["name"] == "kueue-manager-config":
            _jobs_only(obj)
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _from_disk(pod: Object, image: str) -> None:
    [manager] = pod["containers"]
    manager |= {"image": image, "imagePullPolicy": "IfNotPresent"}
    manager["resources"]["requests"] = {"cpu": "50m", "memory": "128Mi"}
    manager["volumeMounts"].append({"name": "manager", "mountPath": "/manager", "readOnly": True})
    pod["volumes"].append({"name": "manager", "hostPath": {"path": str(binaries.kueue()), "type": "File"}})
    pod["securityContext"] |= {"runAsUser": 65532}


def _jobs_only(config_map: Object) -> None:
    """The other kinds that it could queue are not served here, and pods of other tests are none of its business."""
    [(name, text)] = config_map["data"].items()
    settings = yaml.safe_load(text)
    settings["integrations"] = {"frameworks": ["batch/job"]}
    config_map["data"][name] = yaml.safe_dump(settings)
