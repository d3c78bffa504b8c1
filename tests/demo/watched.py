"""A Prometheus beside the demo, and what the dashboards show of it in the end (`make demo-pictures`)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.kubectl import Kubectl
from tests.cluster.processes import State
from tests.cluster.steps import step
from tests.monitoring.boards import MONITORING
from tests.monitoring.prometheus import Prometheus, pods
from tests.monitoring.story import Watched

NAMES = {"training": "cartpole-b", "rollout": "cartpole", "agent": "cartpole"}


@contextmanager
def watched(kubectl: Kubectl, folder: Path | None) -> Iterator[None]:
    """What happens meanwhile is drawn into the folder in the end; without one nothing is watched."""
    if folder is None:
        yield
        return
    state = State.create(f"demo-prometheus-{os.getpid()}", owned=True)
    try:
        prometheus = Prometheus(state, pods(kubectl.kubeconfig), MONITORING / "alerts.yaml")
        seen = Watched(prometheus, time.time())
        yield
        seen.end = time.time()
        with step(f"drawing the dashboards into {folder}"):
            from tests.monitoring.pictures import draw  # which takes matplotlib along

            draw(seen, folder, _variables)
    finally:
        state.remove()


def _variables(board: str) -> Mapping[str, str]:
    return {"__rate_interval": "15s", "namespace": "default", "name": NAMES.get(board, "")}
