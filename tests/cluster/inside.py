"""Process 1 of a node's namespaces: brings up Kubernetes' parts in order, and ends the node when one of them ends.

`tests.cluster.node` starts it (`python -m tests.cluster.inside FOLDER`) and watches from outside.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.cluster import binaries
from tests.cluster.cache import folder
from tests.cluster.kubectl import Kubectl
from tests.cluster.layout import Layout
from tests.cluster.processes import run, tail
from tests.cluster.steps import ClusterError, say, wait_until

PRIVATE = ("/var/log", "/var/lib", "/opt", "/usr/libexec")  # where parts write, whatever one tells them


def main() -> int:
    """Runs the node until a part ends. The log says which."""
    layout = Layout.load(Path(sys.argv[1]))
    mount(layout)
    network(layout)
    kubectl = Kubectl(layout.kubeconfig)
    commands = layout.commands()
    running: dict[int, str] = {}

    def start(*names: str) -> None:
        for name in names:
            with (layout.folder / "log" / f"{name}.log").open("ab") as log:
                command = [str(part) for part in commands[name]]
                process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=layout.folder)
            running[process.pid] = name

    start("etcd", "containerd", "registry", "apiserver")
    wait_until(lambda: ready(kubectl), 180, otherwise=lambda: ClusterError("The API server is not ready."))
    register(kubectl, layout)
    start("controllers", "scheduler", "kubelet", "proxy", "dns")
    while True:
        pid, status = os.wait()  # containers' orphans end here, too
        if pid in running:
            name = running[pid]
            code = os.waitstatus_to_exitcode(status)
            log = layout.folder / "log" / f"{name}.log"
            say(f"{name} ended with exit code {code}. The end of its log:\n{tail(log)}")
            return 1


def mount(layout: Layout) -> None:
    """What the parts write at fixed paths goes to memory, and with it away; the cache stays the real one."""
    cache = folder()
    run("mount", ["mount", "-t", "tmpfs", "tmpfs", "/run"])
    for name in ("lock", "cache"):
        Path("/run", name).mkdir()
    run("mount", ["mount", "--bind", cache, "/run/cache"])
    for path in PRIVATE:
        upper, work = (Path("/run", kind, path[1:]) for kind in ("upper", "work"))
        for made in (upper, work):
            made.mkdir(parents=True)
        layers = f"lowerdir={path},upperdir={upper},workdir={work}"
        run("mount", ["mount", "-t", "overlay", "overlay", "-o", layers, path])
    run("mount", ["mount", "--move", "/run/cache", cache])
    run("hostname", ["hostname", layout.node])


def network(layout: Layout) -> None:
    """Addresses the link that the machine puts into this network namespace."""
    link = Path("/proc/net/dev")
    wait_until(lambda: layout.inner in link.read_text(), 60, otherwise=lambda: ClusterError("No link to the machine."))
    run("ip", ["ip", "link", "set", "lo", "up"])
    run("ip", ["ip", "address", "add", f"{layout.address}/30", "dev", layout.inner])
    run("ip", ["ip", "link", "set", layout.inner, "up"])
    run("ip", ["ip", "route", "add", "default", "via", layout.gateway])
    settings = {
        "net/ipv4/ip_forward": "1",
        "net/ipv4/conf/all/rp_filter": "0",
        "net/bridge/bridge-nf-call-iptables": "1",
    }
    for name, value in settings.items():
        setting = Path("/proc/sys", name)
        if setting.exists():  # the bridge's is there only with its kernel module
            setting.write_text(value)


def ready(kubectl: Kubectl) -> bool:
    """True once the API server says so."""
    try:
        return kubectl("get", "--raw", "/readyz") == "ok"
    except ClusterError:
        return False


def register(kubectl: Kubectl, layout: Layout) -> None:
    """Creates the Node object before the kubelet starts: by itself it would take 20 s, and CSINode would fail."""
    labels = {"kubernetes.io/hostname": layout.node, "kubernetes.io/os": "linux"}
    node: dict[str, Any] = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": layout.node, "labels": labels}}
    kubectl("create", "-f", "-", stdin=json.dumps(node))


if __name__ == "__main__":
    binaries.kube()
    sys.exit(main())
