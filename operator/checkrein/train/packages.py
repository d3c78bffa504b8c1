"""What is installed beside the environment: part of its identity."""

from __future__ import annotations

from importlib import metadata

from checkrein.api.digests import canonical_json, sha256


def packages_digest() -> str:
    """SHA-256 over the names and versions of all installed distributions."""
    installed = {(d.metadata["Name"] or "").lower().replace("_", "-"): d.version for d in metadata.distributions()}
    return sha256(canonical_json(installed))
