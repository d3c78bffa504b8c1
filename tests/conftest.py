"""Fixtures for every test; the services live in tests/cluster."""

import pytest
from tests.cluster.fixtures import cluster, controlplane, minio, seen, swept

__all__ = ["cluster", "controlplane", "minio", "seen", "swept"]

MARKERS = {"minio": "store", "controlplane": "controlplane", "cluster": "cluster"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks each test by the services that it uses, so that none is forgotten when tests are chosen by marker."""
    for item in items:
        for fixture, marker in MARKERS.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(marker)
