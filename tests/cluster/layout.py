"""Everything that a node is told: addresses derived from its name, configuration files, command lines."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.cluster import binaries
from tests.cluster.cache import folder
from tests.cluster.controlplane import ADMIN, apiserver_arguments, etcd_arguments
from tests.cluster.images import NODE_REGISTRY, recipes
from tests.cluster.pki import Authority
from tests.cluster.registry import configuration
from tests.cluster.steps import ClusterError
from tests.cluster.system import CNI

ETCD_PORTS = (2379, 2380)  # in the node's own network namespace, as all ports here
API_PORT = 6443
REGISTRY_ADDRESS = "127.0.0.1:5000"
SOCKET = "/run/containerd/containerd.sock"
DOMAIN = "cluster.local"


@dataclass(frozen=True)
class Layout:
    """A node's folder and its place among the machine's networks: the /16 `10.<block>.0.0`."""

    name: str
    folder: Path
    block: int

    @classmethod
    def choose(cls, name: str, folder: Path, taken: Iterable[str]) -> Layout:
        """Takes the first free block, beginning at one that the name gives. `taken` are networks in CIDR notation."""
        networks = [ipaddress.ip_network(network, strict=False) for network in taken]
        first = int(hashlib.sha256(name.encode()).hexdigest(), 16)
        for offset in range(100):
            layout = cls(name, folder, 100 + (first + offset) % 100)
            if not any(layout._network.overlaps(network) for network in networks):
                return layout
        raise ClusterError("The machine's routes leave no free network between 10.100.0.0 and 10.199.0.0.")

    @classmethod
    def load(cls, folder: Path) -> Layout:
        """Reads what `save` wrote."""
        return cls(folder=folder, **json.loads((folder / "layout.json").read_text()))

    def save(self) -> None:
        """Writes what `load` reads."""
        content = {name: value for name, value in asdict(self).items() if name != "folder"}
        (self.folder / "layout.json").write_text(json.dumps(content))

    @property
    def _network(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network(f"10.{self.block}.0.0/16")

    @property
    def node(self) -> str:
        """The name of the Node, the host and the control group."""
        return f"checkrein-{self.name}"

    @property
    def network(self) -> str:
        """All of the node's addresses."""
        return str(self._network)

    @property
    def pods(self) -> str:
        """Pods' addresses."""
        return f"10.{self.block}.0.0/24"

    @property
    def services(self) -> str:
        """Services' addresses."""
        return f"10.{self.block}.1.0/24"

    @property
    def gateway(self) -> str:
        """The machine's end of the link."""
        return f"10.{self.block}.2.1"

    @property
    def address(self) -> str:
        """The node's end of the link."""
        return f"10.{self.block}.2.2"

    @property
    def outer(self) -> str:
        """The link's name on the machine (at most 15 characters)."""
        return f"checkrein{self.block}"

    @property
    def inner(self) -> str:
        """The link's name in the node."""
        return "up0"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.folder / "pki" / "admin.conf"

    def write(self) -> None:
        """Keys, kubeconfigs and configuration files of all parts."""
        self.save()
        pki = Authority.create(self.folder / "pki")
        hosts = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]
        pki.issue_server("apiserver", hosts, ["127.0.0.1", self.address, f"10.{self.block}.1.1"])
        server = f"https://{self.address}:{API_PORT}"
        pki.kubeconfig("admin", ADMIN, server)
        pki.kubeconfig("kubelet", f"/O=system:nodes/CN=system:node:{self.node}", server)
        for name, content in self._files(pki).items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))

    def commands(self) -> Mapping[str, Sequence[str | Path]]:
        """How each part is started in the node."""
        pki, kube, admin = Authority(self.folder / "pki"), binaries.kube(), f"--kubeconfig={self.kubeconfig}"
        apiserver = apiserver_arguments(
            self.folder, pki, bind=self.address, port=API_PORT, etcd_port=ETCD_PORTS[0], service_range=self.services
        )
        return {
            "etcd": [kube, *etcd_arguments(self.folder / "etcd", *ETCD_PORTS)],
            "containerd": ["containerd", "--config", self.folder / "containerd.toml"],
            "registry": ["docker-registry", "serve", self.folder / "registry.json"],
            "apiserver": [kube, *apiserver, *self._kubelet_client(pki)],
            "controllers": [kube, "controllers", admin, *self._controllers(pki)],
            "scheduler": [kube, "scheduler", admin, "--leader-elect=false", "--bind-address=127.0.0.1"],
            "kubelet": [kube, "kubelet", "--config=kubelet.json", *self._kubelet_arguments(pki)],
            "proxy": [kube, "proxy", "--config=proxy.json"],
            "dns": [kube, "dns", "-conf", "Corefile"],
        }

    def _kubelet_client(self, pki: Authority) -> list[str]:
        return [
            f"--kubelet-client-certificate={pki / 'admin.crt'}",
            f"--kubelet-client-key={pki / 'admin.key'}",
            "--kubelet-preferred-address-types=InternalIP",
            "--allow-privileged",
        ]

    def _kubelet_arguments(self, pki: Authority) -> list[str]:
        return [
            f"--kubeconfig={pki / 'kubelet.conf'}",
            f"--node-ip={self.address}",
            f"--hostname-override={self.node}",
            f"--root-dir={self.folder / 'kubelet'}",
            f"--cert-dir={pki / 'kubelet'}",
        ]

    def _controllers(self, pki: Authority) -> list[str]:
        return [
            f"--cluster-signing-cert-file={pki / 'ca.crt'}",
            f"--cluster-signing-key-file={pki / 'ca.key'}",
            f"--root-ca-file={pki / 'ca.crt'}",
            f"--service-account-private-key-file={pki / 'sa.key'}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            "--allocate-node-cidrs",
            f"--cluster-cidr={self.pods}",
            "--node-cidr-mask-size=24",
        ]

    def _files(self, pki: Authority) -> Mapping[str, str | Mapping[str, Any]]:
        return {
            "kubelet.json": self._kubelet(pki),
            "proxy.json": self._proxy(),
            "cni/10-bridge.conflist": self._cni(),
            "containerd.toml": self._containerd(),
            f"registries/{NODE_REGISTRY}/hosts.toml": f'[host."http://{REGISTRY_ADDRESS}"]\n',
            "registry.json": configuration(REGISTRY_ADDRESS),
            "Corefile": (
                f".:53 {{\n  errors\n  cache 5\n  kubernetes {DOMAIN} {{\n    kubeconfig {self.kubeconfig}\n  }}\n}}\n"
            ),
        }

    def _kubelet(self, pki: Authority) -> Mapping[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "x509": {"clientCAFile": str(pki / "ca.crt")},
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
            },
            "authorization": {"mode": "Webhook"},
            "clusterDNS": [self.address],
            "clusterDomain": DOMAIN,
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.node}",
            "failSwapOn": False,
            "failCgroupV1": False,
            "featureGates": {"KubeletInUserNamespace": True},  # it may not lower oom_score_adj everywhere
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "nodeStatusUpdateFrequency": "2s",
            "serializeImagePulls": False,
            "volumePluginDir": str(self.folder / "plugins"),
        }

    def _proxy(self) -> Mapping[str, Any]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(self.kubeconfig)},
            "mode": "nftables",
            "clusterCIDR": self.pods,
            "hostnameOverride": self.node,
            "conntrack": {"maxPerCore": 0},
        }

    def _cni(self) -> Mapping[str, Any]:
        bridge = {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": True,
            "hairpinMode": True,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": self.pods}]], "routes": [{"dst": "0.0.0.0/0"}]},
        }
        ports = {"type": "portmap", "capabilities": {"portMappings": True}}
        return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]}

    def _containerd(self) -> str:
        """Its images stay in the cache, so that a warm start pulls nothing."""
        return f"""\
version = 2
root = "{folder("nodes", self.name, "containerd")}"
state = "/run/containerd"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{recipes()["base"].reference}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI}"
    conf_dir = "{self.folder / "cni"}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{self.folder / "registries"}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    discard_unpacked_layers = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""
