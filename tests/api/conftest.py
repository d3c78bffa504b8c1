"""An API server that knows the four resources."""

from __future__ import annotations

import pytest
from tests.api.server import Server
from tests.cluster.cache import REPOSITORY
from tests.cluster.controlplane import ControlPlane


@pytest.fixture(scope="session")
def server(controlplane: ControlPlane) -> Server:
    """Its admin's view, with `crds/` applied strictly."""
    crds = str(REPOSITORY / "crds")
    controlplane.kubectl("apply", "--server-side", "--validate=strict", "-f", crds)
    controlplane.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", crds)
    return Server(controlplane.kubeconfig)
