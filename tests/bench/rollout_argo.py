"""Argo Rollouts 1.8.3, doing the nearest thing on the same cluster: a canary by replicas, stopped by an analysis.

Four pods: two of stable and two of the canary, at weight 50. A background analysis asks a web endpoint for the mean
return of the canary's last episodes, and the first measurement below `THRESHOLD` fails (failureLimit 0). Callers come
through the Service with a connection for each request, so a pod counts as gone once it is out of the Service, and a
pod that ends answers for `PRE_STOP` seconds more, so that no request fails for it. The controller is a process on this
machine, without leader election; abort, full promotion and undo are the patches that its kubectl plugin sends.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.bench.rollout_api import Api
from tests.bench.rollout_load import Load, PagePlayer
from tests.bench.rollout_times import MARGIN, Times, moment, quiet_since, until
from tests.bench.servers import PEERS
from tests.cluster.cache import digest, folder, locked
from tests.cluster.cluster import Cluster
from tests.cluster.processes import Process, State, free_port, run
from tests.cluster.steps import ClusterError, step

SOURCES = PEERS / "argo"
MODULE = "github.com/argoproj/argo-rollouts"
PROGRAM = f"{MODULE}/cmd/rollouts-controller"
CRDS = ("rollout", "analysis-run", "analysis-template", "cluster-analysis-template", "experiment")
NAMESPACE = "bench-argo"
ROLLOUT = f"/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/rollouts/page"
TEMPLATE = f"/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/analysistemplates/return"
PODS = 4
PLAYERS = 8
THRESHOLD = 1 - MARGIN
PRE_STOP = 2
PATIENCE = 120.0
KEPT = 1000  # revisions: every canary that was stopped is one, and the last stable version must be among them
INTERVALS = (15, 5, 1)
"""Seconds between measurements. Argo recommends none: most of its docs say 5m. 15 s is the shortest in docs/, 5 s in
examples/ of its repository (v1.8.3), and 1 s is quicker than either."""


def controller() -> Path:
    """The controller's program, built once and kept in the cache. Raises ClusterError."""
    built = folder("bin") / f"argo-rollouts-{digest([SOURCES / 'go.mod', SOURCES / 'go.sum'])}"
    with locked(built.name):
        if not built.exists():
            with step("building Argo Rollouts (about 3 minutes on two cores)"):
                _build(built)
    return built


def _build(built: Path) -> None:
    with tempfile.TemporaryDirectory(dir=built.parent) as out:
        target = Path(out) / built.name
        command = [_go(), "build", "-trimpath", "-ldflags", "-s -w", "-o", str(target), PROGRAM]
        run("building Argo Rollouts", command, cwd=SOURCES, env={"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"})
        target.rename(built)


def definitions() -> list[Path]:
    """Its CRDs, from the same module."""
    told = run("finding Argo Rollouts' CRDs", [_go(), "list", "-m", "-f", "{{.Dir}}", MODULE], cwd=SOURCES)
    return [Path(told.strip()) / "manifests" / "crds" / f"{name}-crd.yaml" for name in CRDS]


def _go() -> str:
    found = shutil.which("go")
    if found is None:
        raise ClusterError(
            "Argo Rollouts is built from source, and no `go` is on PATH: install it (https://go.dev/dl)."
        )
    return found


class Judge(ThreadingHTTPServer):
    """The endpoint that analyses ask. Before a version has played, it is as good as any."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.asked = 0
        self.load: Load | None = None
        self.candidate = ""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def mean(self) -> float:
        """Counted, so that the bench knows when an analysis has begun."""
        self.asked += 1
        found = self.load.mean(self.candidate) if self.load else None
        return 1.0 if found is None else found

    def of(self, load: Load, candidate: str) -> None:
        """Whom it is about now."""
        self.load, self.candidate, self.asked = load, candidate, 0


class _Answer(BaseHTTPRequestHandler):
    server: Judge

    def do_GET(self) -> None:
        body = json.dumps({"mean": self.server.mean()}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Argo:
    """One Rollout that goes from version to version: v1, v2, ..."""

    def __init__(self, cluster: Cluster, api: Api, judge: Judge, rate: float) -> None:
        self._cluster, self._api, self._judge, self._rate = cluster, api, judge, rate
        self._number = 1
        self._stable = "v1"

    def prepare(self) -> None:
        """Stable answers from every pod. Raises ClusterError."""
        script = (PEERS / "argo_server.py").read_text()
        kubectl = self._cluster.kubectl
        kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        kubectl.apply(
            service(), analysis(INTERVALS[0], self._judge.url), rollout(self._cluster.images["base"], script),
            namespace=NAMESPACE,
        )  # fmt: skip
        self._until(lambda s: s.get("phase") == "Healthy" and s.get("availableReplicas") == PODS, "first version")

    @contextmanager
    def playing(self) -> Iterator[Load]:
        """Callers of the Service."""
        address = self._cluster.kubectl.get("service", "page", namespace=NAMESPACE)["spec"]["clusterIP"]
        with Load([PagePlayer(address) for _ in range(PLAYERS)], self._rate) as load:
            yield load

    def breaches(self, load: Load, interval: int, count: int) -> Times:
        """From the canary's first bad episode on, with an analysis every so many seconds."""
        self._api.patch(TEMPLATE, {"spec": {"metrics": [metric(interval, self._judge.url)]}})
        return self._stopped(load, count, lambda candidate: load.spoil(candidate), interval)

    def aborts(self, load: Load, count: int) -> Times:
        """From a person's `abort` in the middle of a canary."""

        def abort(_: str) -> float:
            began = time.monotonic()
            self._api.patch(f"{ROLLOUT}/status", {"status": {"abort": True}})
            return began

        return self._stopped(load, count, abort, 1)

    def rollbacks(self, load: Load, count: int) -> Times:
        """From `undo` after a whole promotion, within the rollback window (no steps, no analysis)."""
        times = Times()
        for _ in range(count):
            since, failed = len(load.heard), len(load.failed)
            newer = self._canary(load)
            older, self._stable = self._stable, newer
            self._api.patch(f"{ROLLOUT}/status", {"status": {"promoteFull": True}})
            self._until(lambda s: self._is_whole(s), f"promoting {newer}")
            quiet_since(load, older, time.monotonic(), PATIENCE)
            began = time.monotonic()
            self._set(older)
            self._stable = older
            times.add(began, quiet_since(load, newer, began, PATIENCE))
            self._until(lambda s: self._is_whole(s), f"going back to {older}")
            times.heard(load, since, failed)
        return times

    def _stopped(self, load: Load, count: int, stop: Callable[[str], float], interval: float) -> Times:
        times = Times()
        for number in range(count):
            since, failed = len(load.heard), len(load.failed)
            candidate = self._canary(load)
            until(lambda: self._judge.asked >= 1, PATIENCE, "the analysis has not begun")
            moment(interval * number / count, interval * (number + 1) / count)  # evenly between two measurements
            began = stop(candidate)
            times.add(began, quiet_since(load, candidate, began, PATIENCE))
            self._until(lambda s: s.get("abort") and s.get("availableReplicas") == PODS, f"stopping {candidate}")
            times.heard(load, since, failed)
        return times

    def _canary(self, load: Load) -> str:
        """A new version answers from half of the pods; its name."""
        self._number += 1
        candidate, since = f"v{self._number}", len(load.heard)
        self._judge.of(load, candidate)
        self._set(candidate)
        until(lambda: len(load.places(candidate, since)) == PODS // 2, PATIENCE, f"{candidate} is no canary")
        self._until(lambda s: s.get("phase") == "Paused", f"{candidate} in canary")
        return candidate

    def _set(self, version: str) -> None:
        """What `kubectl set env`, and `undo`, come to."""
        containers = self._api.get(ROLLOUT)["spec"]["template"]["spec"]["containers"]
        containers[0]["env"] = [{"name": "VERSION", "value": version}]
        self._api.patch(ROLLOUT, {"spec": {"template": {"spec": {"containers": containers}}}})

    def _is_whole(self, status: Mapping[str, Any]) -> bool:
        return (
            status.get("phase") == "Healthy"
            and status.get("stableRS") == status.get("currentPodHash")
            and status.get("updatedReplicas") == status.get("availableReplicas") == status.get("replicas") == PODS
        )

    def _until(self, holds: Callable[[Mapping[str, Any]], Any], what: str) -> None:
        def check() -> bool:
            found = self._api.get(ROLLOUT)
            status = found.get("status", {})
            return status.get("observedGeneration") == str(found["metadata"]["generation"]) and bool(holds(status))

        until(check, PATIENCE, f"Argo: {what} does not come about")


@contextmanager
def running(state: State, cluster: Cluster) -> Iterator[Process]:
    """The controller, with its CRDs on the cluster."""
    program = controller()
    for definition in definitions():
        cluster.kubectl("apply", "--server-side", "-f", str(definition))
    cluster.kubectl("wait", "--for=condition=Established", "crd/rollouts.argoproj.io", "crd/analysisruns.argoproj.io")
    health = free_port()
    ports = [f"--metricsport={free_port()}", f"--healthzPort={health}"]
    command = [str(program), "--kubeconfig", str(cluster.kubeconfig), "--leader-elect=false", "--loglevel=warn", *ports]
    process = state.start("argo-rollouts", command)
    try:
        yield process
    finally:
        process.stop()


def service() -> dict[str, Any]:
    """Over all pods, stable's and the canary's."""
    spec = {"selector": {"app": "page"}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "page"}, "spec": spec}


def analysis(interval: int, url: str) -> dict[str, Any]:
    """Without a count: as long as the canary lasts."""
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": "return"},
        "spec": {"metrics": [metric(interval, url)]},
    }


def metric(interval: int, url: str) -> dict[str, Any]:
    """The first measurement below the threshold stops the rollout."""
    return {
        "name": "return",
        "interval": f"{interval}s",
        "successCondition": f"result >= {THRESHOLD:g}",
        "failureLimit": 0,
        "provider": {"web": {"url": url, "jsonPath": "{$.mean}"}},
    }


def rollout(image: str, script: str) -> dict[str, Any]:
    """By replicas, with Argo's defaults for surge and unavailability; steps that wait for a person."""
    container = {
        "name": "page",
        "image": image,
        "command": ["python3", "-c", script],
        "env": [{"name": "VERSION", "value": "v1"}],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP}}},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
    }
    labels = {"app": "page"}
    canary = {
        "steps": [{"setWeight": 50}, {"pause": {}}],
        "analysis": {"templates": [{"templateName": "return"}], "startingStep": 1},
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "page"},
        "spec": {
            "replicas": PODS,
            "selector": {"matchLabels": labels},
            "rollbackWindow": {"revisions": KEPT},
            "revisionHistoryLimit": KEPT,
            "strategy": {"canary": canary},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 10, "containers": [container]},
            },
        },
    }
