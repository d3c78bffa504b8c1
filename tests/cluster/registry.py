"""Debian's docker-registry over a folder in the cache. Several may serve the same folder."""

from __future__ import annotations

import json

from tests.cluster.cache import folder


def configuration(address: str) -> str:
    """The registry's configuration file (JSON is YAML)."""
    storage = {"filesystem": {"rootdirectory": str(folder("registry"))}}
    return json.dumps({"version": "0.1", "log": {"level": "warn"}, "storage": storage, "http": {"addr": address}})
