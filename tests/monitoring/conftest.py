"""The story, told once for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.cluster.controlplane import ControlPlane
from tests.cluster.minio import Minio
from tests.monitoring.story import Watched, watch


@pytest.fixture(scope="module")  # what it runs trains and decides for as long as it is there
def watched(controlplane: ControlPlane, minio: Minio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A Prometheus that has seen all of it."""
    with watch(controlplane, minio, tmp_path_factory.mktemp("trainer")) as seen:
        yield seen
