"""Fixtures for every test; the services live in tests/cluster."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from tests.cluster.fixtures import cluster, controlplane, minio, seen, swept

__all__ = ["cluster", "controlplane", "minio", "seen", "swept"]

# How long an example takes says something of the machine alone.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

ON_THE_NODE = ("tests/e2e/", "tests/cluster/test_node.py")
MARKERS = {"minio": "store", "controlplane": "controlplane", "cluster": "cluster"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks each test by the services that it uses, so that none is forgotten when tests are chosen by marker.

    Those on the node, which take longest, come first. The first one waits for the node, its images and what is
    installed, too.
    """
    for item in items:
        for fixture, marker in MARKERS.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(marker)
        if item.get_closest_marker("cluster") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1800))
    items.sort(key=lambda item: item.get_closest_marker("cluster") is None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Several processes (`pytest -n`) share the tests by file; all that run on the one node are one process's."""
    from xdist.scheduler import LoadFileScheduling

    class OneNode(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return "node" if nodeid.startswith(ON_THE_NODE) else str(super()._split_scope(nodeid))

    return OneNode(config, log)
