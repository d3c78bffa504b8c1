"""A Prometheus beside the demo, and what the dashboards show of it in the end (`make demo-pictures`)."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from tests.cluster.kubectl import Kubectl, KubectlError
from tests.cluster.processes import State
from tests.cluster.steps import step
from tests.monitoring.boards import MONITORING
from tests.monitoring.prometheus import Prometheus, listed
from tests.monitoring.story import Watched

NAMES = {"training": "cartpole-b", "rollout": "cartpole", "agent": "cartpole"}
PORTS = {"operator": "http", "agent": "management", "trainer": "progress"}
"""Where a component's metrics are."""
COMPONENT = "app.kubernetes.io/component"
SELECTOR = f"{COMPONENT} in ({','.join(PORTS)})"
LOOK_SECONDS = 2.0


@contextmanager
def watched(kubectl: Kubectl, folder: Path | None) -> Iterator[None]:
    """What happens meanwhile is drawn into the folder in the end; without one nothing is watched."""
    if folder is None:
        yield
        return
    state, over = State.create(f"demo-prometheus-{os.getpid()}", owned=True), Event()
    file = state.path / "pods.json"
    looking = Thread(target=_look, args=(kubectl, file, over), daemon=True)
    try:
        looking.start()
        prometheus = Prometheus(state, listed(file), MONITORING / "alerts.yaml")
        seen = Watched(prometheus, time.time())
        yield
        seen.end = time.time()
        with step(f"drawing the dashboards into {folder}"):
            from tests.monitoring.pictures import draw  # which takes matplotlib along

            draw(seen, folder, _variables)
    finally:
        over.set()
        looking.join()
        state.remove()


def _look(kubectl: Kubectl, file: Path, over: Event) -> None:
    """Writes down whom to ask, again and again. Addresses of pods must be within reach."""
    while not over.is_set():
        with suppress(KubectlError):
            pods = json.loads(kubectl("get", "pods", "-A", "-l", SELECTOR, "-o", "json"))["items"]
            fresh = file.with_suffix(".new")
            fresh.write_text(json.dumps([target for pod in pods for target in _targets(pod)]))
            fresh.rename(file)
        over.wait(LOOK_SECONDS)


def _targets(pod: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """With the labels that the chart's monitors add."""
    meta, address = pod["metadata"], pod["status"].get("podIP")
    told = PORTS[meta["labels"][COMPONENT]]
    labels = {"namespace": meta["namespace"], "pod": meta["name"], "name": meta["labels"].get("checkrein.dev/name", "")}
    for container in pod["spec"]["containers"]:
        for port in container.get("ports", ()):
            if address and port.get("name") == told and pod["status"]["phase"] == "Running":
                yield {"targets": [f"{address}:{port['containerPort']}"], "labels": labels}


def _variables(board: str) -> Mapping[str, str]:
    return {"__rate_interval": "15s", "namespace": "default", "name": NAMES.get(board, "")}
