"""What the machine has to bring: root, and Debian's packages."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.cluster.processes import run
from tests.cluster.steps import ClusterError, say, step

CNI = Path("/usr/lib/cni")
SYSTEMD = Path("/run/systemd/system")
# A file that only the package brings, and the package.
IMAGE_TOOLS = {"buildah": "buildah", "debootstrap": "debootstrap", "docker-registry": "docker-registry"}
NODE_TOOLS = {
    "containerd": "containerd",
    "runc": "runc",
    str(CNI / "bridge"): "containernetworking-plugins",
    "iptables": "iptables",
    "nft": "nftables",
    "ip": "iproute2",
    "conntrack": "conntrack",
    "socat": "socat",
    "ethtool": "ethtool",
}
SERVICES = ("containerd", "docker-registry")  # packages that start one; ours run in namespaces instead


def require(tools: dict[str, str]) -> None:
    """Installs what is missing. Raises ClusterError with a sentence where that is not possible here."""
    if os.geteuid() != 0:
        raise ClusterError(
            "A node and its images need root. Run as root, or set CHECKREIN_KUBECONFIG to another cluster."
        )
    missing = sorted({package for tool, package in tools.items() if shutil.which(tool, path=_path()) is None})
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise ClusterError(f"Install what these Debian packages bring: {', '.join(missing)}.")
    with step(f"installing Debian packages {', '.join(missing)}"):
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        run("apt-get update", ["apt-get", "-q", "update"], env=quiet)
        run("apt-get install", ["apt-get", "-qy", "install", "--no-install-recommends", *missing], env=quiet)
    for service in set(SERVICES) & set(missing):
        stop(service)


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def stop(service: str) -> None:
    """Ends what the package's installation started; a machine may forbid its start (policy-rc.d), then nothing runs."""
    if SYSTEMD.exists():
        say(f"stopping the {service} service that its package starts")
        run(f"stopping {service}", ["systemctl", "disable", "--now", service])
    elif Path("/etc/init.d", service).exists() and _runs(service):
        say(f"stopping the {service} service that its package starts")
        run(f"stopping {service}", ["service", service, "stop"])


def _runs(service: str) -> bool:
    return subprocess.run(["service", service, "status"], capture_output=True, check=False).returncode == 0
