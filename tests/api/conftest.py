"""An API server that knows the four resources."""

from __future__ import annotations

import pytest
from tests.api.server import Server
from tests.cluster.controlplane import ControlPlane


@pytest.fixture(scope="session")
def server(controlplane: ControlPlane) -> Server:
    """Its admin's view, with `crds/` applied strictly."""
    controlplane.kubectl.apply_crds()
    return Server(controlplane.kubeconfig)
