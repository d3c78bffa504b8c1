"""A kubeconfig's server, and what it knows its user by: a certificate or a token."""

from __future__ import annotations

import base64
import json
import ssl
from pathlib import Path
from tempfile import NamedTemporaryFile


def client_context(kubeconfig: Path) -> tuple[str, ssl.SSLContext, str]:
    """https://host:port, a client's TLS context and the user's token; that is empty where the TLS tells who it is."""
    config = json.loads(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    tls = ssl.create_default_context(cadata=_decoded(cluster["certificate-authority-data"]))
    if "token" not in user:
        with NamedTemporaryFile("w") as pair:
            pair.write(_decoded(user["client-certificate-data"]) + _decoded(user["client-key-data"]))
            pair.flush()
            tls.load_cert_chain(pair.name)
    return cluster["server"], tls, user.get("token", "")


def _decoded(data: str) -> str:
    return base64.b64decode(data).decode()
