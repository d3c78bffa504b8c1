"""The certificates of one control plane, and the kubeconfigs that go with them."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.processes import run

EC_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
DAYS = "3650"


@dataclass(frozen=True)
class Authority:
    """A certificate authority in a folder of its own, and the key that signs service account tokens."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Authority:
        """New keys, made by openssl."""
        folder.mkdir(parents=True)
        authority = cls(folder)
        _openssl(
            folder, "req", "-x509", *EC_KEY, "-keyout", "ca.key", "-out", "ca.crt", "-days", DAYS, "-subj", "/CN=ca"
        )
        _openssl(folder, "genrsa", "-out", "sa.key", "2048")
        _openssl(folder, "rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub")
        return authority

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def issue(self, name: str, subject: str, extension: str) -> None:
        """Writes NAME.key and NAME.crt. `extension` is a line of openssl's x509v3 configuration."""
        self.folder.joinpath(f"{name}.ext").write_text(extension)
        _openssl(self.folder, "req", *EC_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
        signed_by = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial")
        files = ("-in", f"{name}.csr", "-out", f"{name}.crt", "-extfile", f"{name}.ext")
        _openssl(self.folder, "x509", "-req", *files, *signed_by, "-days", DAYS)

    def issue_server(self, name: str, hosts: Sequence[str], addresses: Sequence[str]) -> None:
        """A server's certificate for these names and addresses."""
        names = [*(f"DNS:{host}" for host in hosts), *(f"IP:{address}" for address in addresses)]
        self.issue(name, f"/CN={name}", f"subjectAltName={','.join(names)}")

    def kubeconfig(self, user: str, subject: str, server: str) -> Path:
        """Issues a client certificate and writes USER.conf, which holds all it needs."""
        self.issue(user, subject, "extendedKeyUsage=clientAuth")
        cluster = {"server": server, "certificate-authority-data": self._encoded("ca.crt")}
        credentials = {
            "client-certificate-data": self._encoded(f"{user}.crt"),
            "client-key-data": self._encoded(f"{user}.key"),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "local", "cluster": cluster}],
            "users": [{"name": user, "user": credentials}],
            "contexts": [{"name": "local", "context": {"cluster": "local", "user": user}}],
            "current-context": "local",
        }
        path = self.folder / f"{user}.conf"
        path.write_text(json.dumps(config, indent=1))
        path.chmod(0o600)
        return path

    def _encoded(self, name: str) -> str:
        return base64.b64encode((self.folder / name).read_bytes()).decode()


def _openssl(folder: Path, *arguments: str) -> None:
    run(f"openssl {arguments[0]}", ["openssl", *arguments], cwd=folder)
