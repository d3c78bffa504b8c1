"""MinIO as a process on the loopback address."""

from __future__ import annotations

import secrets
import shutil
import ssl
import urllib.error
import urllib.request
from pathlib import Path

from tests.cluster import binaries
from tests.cluster.pki import Authority
from tests.cluster.processes import State, free_port

# In namespaces of its own, where everybody may mount; the disk goes with the process.
SMALL_DISK = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
MOUNT = 'mount -t tmpfs -o size="$0" tmpfs "$1" && shift && exec "$@"'


class Minio:
    """A running MinIO. `endpoint` is host:port, as S3 clients want it; buckets may have object lock.

    With an `authority` it speaks TLS by a certificate of that one, and `authorities` is the file that vouches for it.
    `disk` is the size of one of its own, for example 48m.
    """

    def __init__(self, state: State, authority: Authority | None = None, disk: str = "") -> None:
        self.state = state
        self.disk = disk
        self.authorities = authority / "ca.crt" if authority else None
        if authority:
            self._certify(authority)
        self.endpoint = f"127.0.0.1:{free_port()}"
        self.console = f"127.0.0.1:{free_port()}"
        self.access_key = "root"
        self.secret_key = secrets.token_hex(16)
        self.start()

    def start(self) -> None:
        """Starts it, again on the same data where it was stopped."""
        credentials = {"MINIO_ROOT_USER": self.access_key, "MINIO_ROOT_PASSWORD": self.secret_key}
        options: list[str | Path] = [
            "--certs-dir",
            self._certificates,
            "--quiet",
            "--address",
            self.endpoint,
            "--console-address",
            self.console,
        ]
        data = self.state.path / "data"
        data.mkdir(exist_ok=True)
        small = (*SMALL_DISK, MOUNT, self.disk, data) if self.disk else ()
        self.process = self.state.start(
            "minio",
            [*small, binaries.minio(), "server", *options, data],
            env=credentials | {"MINIO_UPDATE": "off", "MINIO_BROWSER": "off"},
        )
        self.process.wait_ready(self._ready)

    def stop(self) -> None:
        """Ends it as a crash would (SIGKILL); the data stays."""
        self.process.kill()

    @property
    def _certificates(self) -> Path:
        return self.state.path / "certificates"

    def _certify(self, authority: Authority) -> None:
        """The names are those that MinIO looks for."""
        authority.issue_server("minio", ["localhost"], ["127.0.0.1"])
        self._certificates.mkdir()
        for made, wanted in (("minio.crt", "public.crt"), ("minio.key", "private.key")):
            shutil.copy(authority / made, self._certificates / wanted)

    def _ready(self) -> bool:
        trust = ssl.create_default_context(cafile=self.authorities) if self.authorities else None
        # `ready` says so before its disks and users are: then it refuses what it is asked.
        url = f"{'https' if trust else 'http'}://{self.endpoint}/minio/health/cluster"
        try:
            with urllib.request.urlopen(url, timeout=2, context=trust) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
