"""Plays pods as `tests.control.standin` does, but replicas are real processes that really decide."""

from __future__ import annotations

import base64
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from tests.agent import graphs
from tests.cluster.controlplane import ControlPlane
from tests.cluster.processes import State
from tests.control.builders import digest
from tests.control.standin import Play, Standin

from checkrein.api.environment import Check, Findings
from checkrein.api.meta import Model
from checkrein.api.tasks import MANAGEMENT_PORT, SERVING_PORT, ProbeReport, TrainingReport, TrainingTask
from checkrein.api.training import Progress
from checkrein.store import artifacts

Raw = dict[str, Any]
REPOSITORY = Path(__file__).parents[2]
NETWORKS = (graphs.balancing(), graphs.always(1))


class Living(Standin):
    """`addresses` holds those of the replicas, by pod. They are started by `step`, so call it from the main thread."""

    def __init__(self, controlplane: ControlPlane, state: State, server: Any) -> None:
        super().__init__(server)
        self._controlplane = controlplane
        self._state = state
        self.addresses: dict[str, str] = {}

    def _work(self, component: str, job: Raw, play: Play) -> Model:
        """A probe that measures, a trainer whose network is a real one: by the job's seed."""
        if component == "probe":
            found = Findings(deterministic=True, steps_per_second=90_000, checks=[Check(name="finite", passed=True)])
            return ProbeReport(interface=graphs.CARTPOLE, packages=digest("9"), findings=found)
        if component == "trainer":
            [container] = job["spec"]["template"]["spec"]["containers"]
            told = next(e["value"] for e in container["env"] if e["name"] == "CHECKREIN_TASK")
            task = TrainingTask.model_validate_json(told)
            files = {"policy.onnx": NETWORKS[task.spec.seed]}
            store = self._store(job, task.store)
            manifest = artifacts.export(store, files, task.interface, task.spec.algorithm.name, graphs.OPSET)
            return TrainingReport(manifest=manifest, progress=Progress(steps=5000, total=5000, percent=100))
        return super()._work(component, job, play)

    def _stateful_set(self, replicas: Raw) -> None:
        namespace, name = replicas["metadata"]["namespace"], replicas["metadata"]["name"]
        mounted = [self.get("Secret", namespace, f"{name}-{what}") for what in ("store", "token")]
        if None in mounted:
            return  # as the kubelet, which waits for what is mounted
        for index in range(replicas["spec"]["replicas"]):
            pod = f"{name}-{index}"
            if pod not in self.addresses:
                self.addresses[pod] = address = next(self._addresses)
                self._run_pod(replicas, pod, {}, address)
                self._start(replicas, pod, address, [secret or {} for secret in mounted])

    def _start(self, replicas: Raw, pod: str, address: str, mounted: list[Raw]) -> None:
        namespace, account = replicas["metadata"]["namespace"], replicas["metadata"]["name"]
        files = self._state.path / pod
        (files / "keys").mkdir(parents=True)
        token = self._controlplane.kubectl("create", "token", account, "-n", namespace).strip()
        (files / "token").write_text(token)
        (files / "ca.crt").write_bytes((self._controlplane.state.path / "pki" / "ca.crt").read_bytes())
        store, keys = (secret["data"] for secret in mounted)
        (files / "credentials.json").write_bytes(base64.b64decode(store["credentials.json"]))
        for made, key in keys.items():
            (files / "keys" / made).write_bytes(base64.b64decode(key))
        [container] = replicas["spec"]["template"]["spec"]["containers"]
        config = json.loads(self._controlplane.kubeconfig.read_text())
        server = urlsplit(config["clusters"][0]["cluster"]["server"])
        env = {
            "PYTHONPATH": str(REPOSITORY / "operator"),
            "CHECKREIN_TASK": next(e["value"] for e in container["env"] if e["name"] == "CHECKREIN_TASK"),
            "CHECKREIN_SERVICE_ACCOUNT": str(files),
            "CHECKREIN_CREDENTIALS": str(files / "credentials.json"),
            "CHECKREIN_TOKEN_KEYS": str(files / "keys"),
            "CHECKREIN_LOG": str(files / "log"),
            "CHECKREIN_HOST": address,
            "CHECKREIN_DRAIN_SECONDS": "0.1",
            "POD_NAME": pod,
            "POD_UID": str((self.get("Pod", namespace, pod) or {})["metadata"]["uid"]),
            "KUBERNETES_SERVICE_HOST": str(server.hostname),
            "KUBERNETES_SERVICE_PORT": str(server.port),
        }
        self._state.start(pod, [sys.executable, "-m", "checkrein.agent.main"], env=env)

    def scraped(self, pod: str) -> str:
        """Where a replica tells its metrics."""
        return f"{self.addresses[pod]}:{MANAGEMENT_PORT}"


class Callers:
    """Play short episodes at all replicas until closed. Every step is worth 1; some observations lie at the edge."""

    def __init__(self, addresses: Callable[[], list[str]], threads: int = 2) -> None:
        self._addresses = addresses
        self._over = threading.Event()
        self.played = 0
        self._threads = [threading.Thread(target=self._play, args=(n,), daemon=True) for n in range(threads)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _play(self, number: int) -> None:
        with httpx.Client(timeout=10, trust_env=False) as http:
            count = number
            while not self._over.is_set():
                count += 1
                addresses = self._addresses()
                try:
                    self._episode(http, f"http://{addresses[count % len(addresses)]}:{SERVING_PORT}/v1/act", count)
                except (httpx.HTTPError, KeyError, ZeroDivisionError):
                    time.sleep(0.2)

    def _episode(self, http: httpx.Client, url: str, count: int) -> None:
        token = None
        for step in range(4):
            edge = 3.0 if (count + step) % 5 == 0 else 0.1
            message = {"observation": [edge, 0.02, 0.03 * (-1) ** (count + step), 0.1 * (-1) ** count]}
            answer = http.post(url, json=message | ({"episode": token, "reward": 1.0} if token else {}))
            token = answer.json()["episode"]
        http.post(url, json={"episode": token, "reward": 1.0, "terminated": True})
        http.post(url, content=b"no message")  # is refused
        self.played += 1
        time.sleep(0.005)
