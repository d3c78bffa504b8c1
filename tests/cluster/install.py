"""Checkrein and its development MinIO on a cluster, as a person would install them: by helm."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping

from tests.cluster import binaries
from tests.cluster.cache import REPOSITORY
from tests.cluster.kubectl import Kubectl
from tests.cluster.steps import ClusterError, step

NAMESPACE = "checkrein-system"
ROLLOUT_SECONDS = 300


def install(kubectl: Kubectl, images: Mapping[str, str], settings: Mapping[str, object] | None = None) -> None:
    """Installs or upgrades; run twice, it ends the same. `settings` are values of the chart. Raises ClusterError."""
    with step("Installing MinIO and Checkrein with Helm"):
        kubectl.apply(_namespace(), namespace=NAMESPACE)
        _helm(kubectl, {"minio.enabled": True, **_images(images), **(settings or {})})
        _wait(kubectl, "statefulset/minio", "the store")
        _wait(kubectl, "deployment/checkrein-operator", "the operator")


def upgrade(kubectl: Kubectl, images: Mapping[str, str], settings: Mapping[str, object]) -> None:
    """`helm upgrade` of Checkrein alone; returns once its new pods are ready and the old ones go. Raises ClusterError.

    Keys of `settings` are dotted paths of values, whose own dots are escaped as helm wants it.
    """
    with step("Upgrading Checkrein with Helm"):
        _helm(kubectl, {"minio.enabled": True, **_images(images), **settings})
        _wait(kubectl, "deployment/checkrein-operator", "the operator")


def _namespace() -> Mapping[str, object]:
    restricted = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": restricted}}


def _images(images: Mapping[str, str]) -> Mapping[str, object]:
    values = {}
    for name in ("operator", "trainer", "agent", "minio"):
        where = "minio.image" if name == "minio" else f"images.{name}"
        values[f"{where}.repository"], _, values[f"{where}.tag"] = images[name].rpartition(":")
    return values


def _helm(kubectl: Kubectl, values: Mapping[str, object]) -> None:
    command = [binaries.helm(), "upgrade", "--install", "checkrein", REPOSITORY / "charts" / "checkrein"]
    # What an older checkout installed by kubectl is taken over.
    command += ["--kubeconfig", kubectl.kubeconfig, "--namespace", NAMESPACE, "--take-ownership"]
    command += [option for key, value in values.items() for option in ("--set-json", f"{key}={json.dumps(value)}")]
    run = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if run.returncode:
        raise ClusterError(f"helm could not install the chart: {run.stderr.strip()}")


def _wait(kubectl: Kubectl, workload: str, what: str) -> None:
    try:
        kubectl(
            "-n",
            NAMESPACE,
            "rollout",
            "status",
            workload,
            f"--timeout={ROLLOUT_SECONDS}s",
            seconds=ROLLOUT_SECONDS + 20,
        )
    except ClusterError as error:
        pods = kubectl("-n", NAMESPACE, "get", "pods", "-o", "wide")
        raise ClusterError(f"{what} does not become ready: {error}\n{pods}") from error
