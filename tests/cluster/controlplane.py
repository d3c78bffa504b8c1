"""etcd and an API server alone: real schemas, CEL, RBAC and admission, ready in seconds, without root or pods."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.cluster import binaries
from tests.cluster.kubectl import Kubectl
from tests.cluster.pki import Authority
from tests.cluster.processes import Process, State, free_port

SERVICE_RANGE = "10.96.0.0/16"
AUDIT_POLICY = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n"
ADMIN = "/O=system:masters/CN=admin"


class ControlPlane:
    """A running API server on the loopback address."""

    def __init__(self, state: State) -> None:
        self.state = state
        address, port = "127.0.0.1", free_port()
        pki = Authority.create(state.path / "pki")
        pki.issue_server("apiserver", ["localhost", "kubernetes.default.svc"], [address])
        self.kubeconfig = pki.kubeconfig("admin", ADMIN, f"https://{address}:{port}")
        self.kubectl = Kubectl(self.kubeconfig)
        self.audit_log = state.path / "log" / "audit.log"
        client_port = free_port()
        state.start("etcd", [binaries.kube(), *etcd_arguments(state.path / "etcd", client_port, free_port())])
        arguments = apiserver_arguments(state.path, pki, bind=address, port=port, etcd_port=client_port)
        self._apiserver: list[str | Path] = [binaries.kube(), *arguments]
        self.start_apiserver()

    def audit_lines(self) -> list[str]:
        """The events so far; of the last one a part may be written yet."""
        return self.audit_log.read_text().rpartition("\n")[0].splitlines()

    def start_apiserver(self) -> None:
        """Returns once it is ready; the first time, or again after it was killed."""
        self.apiserver = self.state.start("apiserver", self._apiserver)
        wait_ready(self.apiserver, self.kubeconfig)


def etcd_arguments(data: Path, client_port: int, peer_port: int) -> list[str]:
    """etcd on the loopback address. It forgets on power loss: tests only."""
    client, peer = (f"http://127.0.0.1:{port}" for port in (client_port, peer_port))
    options = {
        "data-dir": data,
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
    }
    return ["etcd", "--unsafe-no-fsync", *(f"--{name}={value}" for name, value in options.items())]


def apiserver_arguments(
    folder: Path, pki: Authority, *, bind: str, port: int, etcd_port: int, service_range: str = SERVICE_RANGE
) -> list[str]:
    """What both the control plane alone and a node's API server run with. The audit log counts writes for tests."""
    (folder / "audit.yaml").write_text(AUDIT_POLICY)
    options = {
        "etcd-servers": f"http://127.0.0.1:{etcd_port}",
        "bind-address": bind,
        "advertise-address": bind,
        "secure-port": port,
        "tls-cert-file": pki / "apiserver.crt",
        "tls-private-key-file": pki / "apiserver.key",
        "client-ca-file": pki / "ca.crt",
        "service-account-key-file": pki / "sa.pub",
        "service-account-signing-key-file": pki / "sa.key",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-cluster-ip-range": service_range,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "audit-policy-file": folder / "audit.yaml",
        "audit-log-path": folder / "log" / "audit.log",
        "audit-log-maxsize": 10_000,  # MB: tests count in one file
        "cert-dir": folder / "pki",
    }
    return ["apiserver", *(f"--{name}={value}" for name, value in options.items())]


def wait_ready(apiserver: Process, kubeconfig: Path) -> None:
    """Returns once the API server says that it is ready. Raises ClusterError with its log's tail."""
    get: list[str | Path] = [binaries.kube(), "kubectl", "--kubeconfig", kubeconfig, "get"]
    wanted = (["--raw", "/readyz"], ["namespace", "default"])  # it makes the namespace beside, perhaps later
    apiserver.wait_ready(
        lambda: all(subprocess.run([*get, *what], capture_output=True, check=False).returncode == 0 for what in wanted)
    )
