"""MinIO as a process on the loopback address."""

from __future__ import annotations

import secrets
import urllib.error
import urllib.request

from tests.cluster import binaries
from tests.cluster.processes import State, free_port


class Minio:
    """A running MinIO. `endpoint` is host:port, as S3 clients want it; buckets may have object lock."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.endpoint = f"127.0.0.1:{free_port()}"
        self.console = f"127.0.0.1:{free_port()}"
        self.access_key = "root"
        self.secret_key = secrets.token_hex(16)
        self.start()

    def start(self) -> None:
        """Starts it, again on the same data where it was stopped."""
        credentials = {"MINIO_ROOT_USER": self.access_key, "MINIO_ROOT_PASSWORD": self.secret_key}
        options = ["--quiet", "--address", self.endpoint, "--console-address", self.console]
        self.process = self.state.start(
            "minio",
            [binaries.minio(), "server", *options, self.state.path / "data"],
            env=credentials | {"MINIO_UPDATE": "off", "MINIO_BROWSER": "off"},
        )
        self.process.wait_ready(self._ready)

    def stop(self) -> None:
        """Ends it as a crash would (SIGKILL); the data stays."""
        self.process.kill()

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.endpoint}/minio/health/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
