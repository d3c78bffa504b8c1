"""Checkrein and its development MinIO on a cluster, as a person would install them: kubectl, kustomize, helm."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.cluster import binaries
from tests.cluster.cache import REPOSITORY
from tests.cluster.kubectl import Kubectl
from tests.cluster.steps import ClusterError, step

NAMESPACE = "checkrein-system"
ROLLOUT_SECONDS = 180


def install(kubectl: Kubectl, images: Mapping[str, str], settings: Mapping[str, object] | None = None) -> None:
    """Installs or upgrades; run twice, it ends the same. `settings` are values of the chart. Raises ClusterError."""
    with step("Installing MinIO for development"):
        kubectl.apply(_namespace(), *_secrets(kubectl), namespace=NAMESPACE)
        _apply_minio(kubectl, images)
        _wait(kubectl, "statefulset/minio", "the store")
        kubectl("-n", NAMESPACE, "wait", "--for=condition=Complete", "job/store-setup", "--timeout=120s")
    with step("Installing Checkrein with Helm"):
        _helm(kubectl, images, settings or {})
        _wait(kubectl, "deployment/checkrein-operator", "the operator")


def _namespace() -> Mapping[str, object]:
    restricted = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": restricted}}


def _secrets(kubectl: Kubectl) -> list[Mapping[str, object]]:
    """Credentials of MinIO's administrator and of the operator's user; those that exist stay."""
    present = kubectl("-n", NAMESPACE, "get", "secrets", "-o", "name", "--ignore-not-found").split()
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "stringData": _credentials(user),
        }
        for name, user in (("minio-administrator", "administrator"), ("checkrein-store", "checkrein"))
        if f"secret/{name}" not in present
    ]


def _credentials(user: str) -> Mapping[str, str]:
    pair = {"accessKey": user, "secretKey": secrets.token_hex(16)}
    return {**pair, "credentials.json": json.dumps(pair)}


def _apply_minio(kubectl: Kubectl, images: Mapping[str, str]) -> None:
    kubectl("-n", NAMESPACE, "delete", "job", "store-setup", "--ignore-not-found")  # a Job's image cannot be changed
    build = REPOSITORY / "build"  # kustomize takes relative paths only
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build) as folder:
        replaced = [_replacement(name, images[name]) for name in ("minio", "operator")]
        base = os.path.relpath(REPOSITORY / "manifests" / "minio", folder)
        overlay = {"resources": [base], "images": replaced}
        Path(folder, "kustomization.yaml").write_text(json.dumps(overlay))
        kubectl("apply", "--server-side", "--force-conflicts", "-k", folder)


def _replacement(name: str, reference: str) -> Mapping[str, str]:
    repository, _, tag = reference.rpartition(":")
    return {"name": f"checkrein/{name}", "newName": repository, "newTag": tag}


def _helm(kubectl: Kubectl, images: Mapping[str, str], settings: Mapping[str, object]) -> None:
    values = dict(settings)
    for name in ("operator", "trainer", "agent"):
        values[f"images.{name}.repository"], _, values[f"images.{name}.tag"] = images[name].rpartition(":")
    command = [binaries.helm(), "upgrade", "--install", "checkrein", REPOSITORY / "charts" / "checkrein"]
    command += ["--kubeconfig", kubectl.kubeconfig, "--namespace", NAMESPACE, "--set", "namespace.create=false"]
    command += ["--values", REPOSITORY / "manifests" / "minio" / "values.yaml"]
    command += [option for key, value in values.items() for option in ("--set-json", f"{key}={json.dumps(value)}")]
    run = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if run.returncode:
        raise ClusterError(f"helm could not install the chart: {run.stderr.strip()}")


def _wait(kubectl: Kubectl, workload: str, what: str) -> None:
    try:
        kubectl("-n", NAMESPACE, "rollout", "status", workload, f"--timeout={ROLLOUT_SECONDS}s", seconds=200)
    except ClusterError as error:
        pods = kubectl("-n", NAMESPACE, "get", "pods", "-o", "wide")
        raise ClusterError(f"{what} does not become ready: {error}\n{pods}") from error
