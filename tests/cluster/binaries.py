"""Kubernetes, MinIO and Helm, built once from Go modules and kept in the cache."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from tests.cluster.cache import digest, folder, locked
from tests.cluster.processes import run
from tests.cluster.steps import ClusterError, step

KUBE_SOURCES = Path(__file__).parent / "kube"
KUBE_VERSION = "v1.34.4"
MINIO_MODULE = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c"
HELM_MODULE = "helm.sh/helm/v3/cmd/helm@v3.19.0"
PROMETHEUS_OPERATOR_MODULE = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
KUBERAY_VERSION = "v1.5.1"
KUBERAY_MODULE = "github.com/ray-project/kuberay/ray-operator"
KUEUE_MODULE = "sigs.k8s.io/kueue"
KUEUE_VERSION = "v0.17.0"


def kube() -> Path:
    """Every part of Kubernetes, etcd and CoreDNS in one program: its first argument names the part."""
    flags = _kube_flags()
    sources = [KUBE_SOURCES / name for name in ("go.mod", "go.sum", "main.go")]
    built = folder("bin") / f"kube-{digest([*sources, flags.encode()])}"
    if not built.exists():
        with locked(built.name):
            _build(built, "Kubernetes (about 5 minutes on two cores)", ["build", "-ldflags", flags], cwd=KUBE_SOURCES)
    return built


def minio() -> Path:
    """MinIO's server."""
    return _installed(MINIO_MODULE, "MinIO (about 2 minutes on two cores)")


def helm() -> Path:
    """The helm command."""
    return _installed(HELM_MODULE, "Helm (about 1 minute on two cores)")


def prometheus_operator_crds() -> Path:
    """The folder with the Prometheus operator's CRDs, one file each: of its module, which Go checks by its sum."""
    return _sources(PROMETHEUS_OPERATOR_MODULE) / "example" / "prometheus-operator-crd"


def kuberay() -> Path:
    """KubeRay's operator, for the benchmark."""
    return _installed(f"{KUBERAY_MODULE}@{KUBERAY_VERSION}", "KubeRay's operator (about 2 minutes on two cores)")


def kuberay_definitions() -> Path:
    """The folder with KubeRay's CRDs, from the same module."""
    return _sources(f"{KUBERAY_MODULE}@{KUBERAY_VERSION}") / "config" / "crd" / "bases"


def kueue() -> Path:
    """Kueue's manager."""
    return _installed(f"{KUEUE_MODULE}/cmd/kueue@{KUEUE_VERSION}", "Kueue (about 4 minutes on two cores)")


def kueue_manifests() -> Path:
    """The folder that Kueue is installed from (`kubectl kustomize`), from the same module."""
    return _sources(f"{KUEUE_MODULE}@{KUEUE_VERSION}") / "config" / "default"


def _kube_flags() -> str:
    major, minor, _ = KUBE_VERSION.removeprefix("v").split(".")
    package = "k8s.io/component-base/version"
    named = {"gitVersion": KUBE_VERSION, "gitMajor": major, "gitMinor": minor}
    return " ".join(["-s -w", *(f"-X {package}.{name}={value}" for name, value in named.items())])


def _sources(module: str) -> Path:
    """The folder of a module, which Go checks by its sum."""
    command = [_go(module), "mod", "download", "-json", module]
    said = run(f"`go mod download` of {module}", command, cwd=folder("bin"))
    return Path(json.loads(said[said.index("{") :])["Dir"])


def _installed(module: str, title: str) -> Path:
    path, version = module.split("@")
    built = folder("bin") / f"{path.rsplit('/', 1)[1]}-{version}"
    if not built.exists():
        with locked(built.name):
            _build(built, title, ["install", "-ldflags", "-s -w", module], cwd=folder("bin"))
    return built


def _build(target: Path, title: str, arguments: list[str], *, cwd: Path) -> None:
    """Runs go and moves the one program that it makes to `target`, at once."""
    if target.exists():  # another process built it while this one waited for the lock
        return
    go = _go(title)
    with step(f"building {title}"), tempfile.TemporaryDirectory(dir=target.parent) as out:
        output = ["-o", out] if arguments[0] == "build" else []
        command = [go, arguments[0], "-trimpath", *output, *arguments[1:]]
        run(f"`go {arguments[0]}` of {title}", command, cwd=cwd, env=_go_environment(out))
        next(Path(out).iterdir()).rename(target)


def _go(what: str) -> str:
    go = shutil.which("go")
    if go is None:
        raise ClusterError(
            f"{what} comes from source, and no `go` is on PATH: install Go 1.25 or newer (https://go.dev/dl)."
        )
    return go


def _go_environment(out: str) -> dict[str, str]:
    """CGO off: the programs run in any base system. GOBIN is where `go install` puts them."""
    return {"CGO_ENABLED": "0", "GOBIN": out, "GOFLAGS": "-buildvcs=false"}


if __name__ == "__main__":  # `python -m tests.cluster.binaries helm` prints where it is
    print({"kube": kube, "minio": minio, "helm": helm}[sys.argv[1]]())
