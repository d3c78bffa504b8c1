"""Fixtures for every test; the services live in tests/cluster."""

import pytest
from tests.cluster.fixtures import cluster, controlplane, minio, seen, swept

__all__ = ["cluster", "controlplane", "minio", "seen", "swept"]

MARKERS = {"minio": "store", "controlplane": "controlplane", "cluster": "cluster"}


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks each test by the services that it uses, so that none is forgotten when tests are chosen by marker.

    Several processes (`pytest -n`) share them by file, and one takes all that run on the one node, from the beginning.
    """
    for item in items:
        for fixture, marker in MARKERS.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(marker)
        item.add_marker(
            pytest.mark.xdist_group("node" if item.get_closest_marker("cluster") else item.nodeid.partition("::")[0])
        )
    items.sort(key=lambda item: item.get_closest_marker("cluster") is None)
