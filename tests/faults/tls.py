"""A kubeconfig's server, and the TLS by which it knows its user."""

from __future__ import annotations

import base64
import json
import ssl
from pathlib import Path
from tempfile import NamedTemporaryFile


def client_context(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    """https://host:port and a client's TLS context."""
    config = json.loads(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    tls = ssl.create_default_context(cadata=_decoded(cluster["certificate-authority-data"]))
    with NamedTemporaryFile("w") as pair:
        pair.write(_decoded(user["client-certificate-data"]) + _decoded(user["client-key-data"]))
        pair.flush()
        tls.load_cert_chain(pair.name)
    return cluster["server"], tls


def _decoded(data: str) -> str:
    return base64.b64decode(data).decode()
