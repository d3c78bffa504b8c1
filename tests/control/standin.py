"""Plays what a control plane alone lacks: the job and StatefulSet controllers, the kubelet, and the programs in pods.

Nothing runs beside the test: `until` takes one step after the other until its condition holds. The programs use
what the operator hands them (task, mounted session) on the real store, and answer on loopback addresses of their own.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

from tests.api.server import MERGE, Refused, Server
from tests.cluster.steps import ClusterError, wait_until
from tests.control.builders import CARTPOLE, digest

from checkrein.api.environment import Findings
from checkrein.api.meta import FileReference, Model
from checkrein.api.names import COMPONENT, MANAGED_BY_LABEL, OWNER_NAME
from checkrein.api.policy import Artifact
from checkrein.api.recording import Agreement, Recording
from checkrein.api.tasks import (
    MANAGEMENT_PORT,
    SERVING_PORT,
    AgentReport,
    AgentTask,
    EvaluationReport,
    EvaluationResults,
    EvaluationTask,
    LoadedPolicy,
    ProbeReport,
    StoreCredentials,
    StoreLocation,
    TrainingProgress,
    TrainingReport,
    TrainingTask,
)
from checkrein.api.training import CheckpointStatus, Progress
from checkrein.control.kinds import CHILD_SELECTOR, KINDS
from checkrein.store import artifacts, recordings
from checkrein.store.client import Store, StoredObject
from checkrein.store.errors import NotFound

Raw = dict[str, Any]
M = TypeVar("M", bound=Model)
SECONDS = 180.0  # on a busy disk everything takes several times as long
IMAGE = f"registry.example/checkrein/trainer@{digest('7')}"
PROGRESS = TrainingProgress(
    progress=Progress(steps=2500, total=5000, percent=50), checkpoint=CheckpointStatus(step=2000, digest=digest("c"))
)


@dataclass
class Ending:
    """How a pod ends. Without a report it was killed. `ahead`: the clock of who tells of it, in seconds."""

    report: Model | None
    exit_code: int = 0
    ahead: float = 0.0


@dataclass
class Play:
    """What happens in one namespace. `hold`: components whose pods run and do not end."""

    hold: set[str] = field(default_factory=set)
    endings: dict[str, Ending] = field(default_factory=dict)  # by the Job's name, instead of what usually happens
    returns: float = 498.0
    unlabelled: bool = False  # pods that no watch of ours shows


class Standin:
    """One step does whatever is due in the namespaces that take part."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.plays: dict[str, Play] = {}
        self._addresses = (f"127.{16 + secrets.randbelow(200)}.{a}.{b}" for a in range(256) for b in range(1, 255))
        self._servers: list[ThreadingHTTPServer] = []
        self._loaded: set[str] = set()

    def join(self, namespace: str, **labels: str) -> Play:
        """A new namespace that takes part. It takes no pod that Pod Security `restricted` refuses."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted", **labels}
        self.server.send("POST", "/api/v1/namespaces", {"metadata": {"name": namespace, "labels": labels}})
        account = {"metadata": {"name": "default"}}  # the service account controller's part
        self.server.send("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
        return self.plays.setdefault(namespace, Play())

    def close(self) -> None:
        """Ends all programs."""
        for server in self._servers:
            server.shutdown()
            server.server_close()

    # Reading and writing.

    def get(self, kind: str, namespace: str, name: str) -> Raw | None:
        """The object, if there is one."""
        try:
            return self.server.send("GET", KINDS[kind].path(namespace, name))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def all(self, kind: str, namespace: str, selector: str = "") -> list[Raw]:
        """All objects of the kind in the namespace, by name."""
        query = f"?labelSelector={selector}" if selector else ""
        items: list[Raw] = self.server.send("GET", KINDS[kind].path(namespace) + query)["items"]
        return sorted(items, key=lambda o: str(o["metadata"]["name"]))

    def names(self, kind: str, namespace: str) -> list[str]:
        """Names of all objects of the kind in the namespace."""
        return [o["metadata"]["name"] for o in self.all(kind, namespace)]

    def create(self, kind: str, namespace: str, obj: Raw) -> Raw:
        """Creates it, strictly."""
        whole = {"apiVersion": KINDS[kind].api_version, "kind": kind, **obj}
        return self.server.send("POST", KINDS[kind].path(namespace), whole)

    def patch(self, kind: str, namespace: str, name: str, change: Raw, subresource: str = "") -> Raw:
        """Merges a change into it."""
        path = KINDS[kind].path(namespace, name, subresource)
        return self.server.send("PATCH", path, change, content_type=MERGE)

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Deletes it at once, with what it owns: nobody collects garbage here."""
        options = {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
        gone = self.server.send("DELETE", KINDS[kind].path(namespace, name), options)
        uid = gone.get("metadata", {}).get("uid") or gone.get("details", {}).get("uid")
        for child in ("Job", "Pod", "StatefulSet"):
            for obj in self.all(child, namespace):
                if uid in {o["uid"] for o in obj["metadata"].get("ownerReferences", ())}:
                    self.delete(child, namespace, obj["metadata"]["name"])

    def said(self, kind: str, namespace: str, name: str, type_: str) -> tuple[str, str, str]:
        """Reason, status and message of a condition; empty where there is none."""
        obj = self.get(kind, namespace, name) or {}
        found = [c for c in obj.get("status", {}).get("conditions", ()) if c["type"] == type_]
        return (found[0]["reason"], found[0]["status"], found[0]["message"]) if found else ("", "", "")

    # Going on.

    def until(self, condition: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
        """Goes on until the condition holds. Raises ClusterError with what there is instead."""

        def stepped() -> bool:
            self.step()
            return condition()

        wait_until(stepped, seconds, otherwise=lambda: ClusterError(f"not so after {seconds} s: {what}{self._told()}"))

    def until_said(self, kind: str, namespace: str, name: str, type_: str, reason: str) -> str:
        """Goes on until the condition has this reason; the message that it had then."""
        said = "", "", ""

        def so() -> bool:
            nonlocal said
            said = self.said(kind, namespace, name, type_)
            return said[0] == reason

        self.until(so, f"{namespace}/{name}: {type_}={reason}")
        return said[2]

    def _told(self) -> str:
        kinds = ("RLEnvironment", "TrainingJob", "PolicyVersion", "AgentDeployment")
        found = [(ns, o) for ns in self.plays for kind in kinds for o in self.all(kind, ns)]
        return "".join(f"\n{ns}/{o['metadata']['name']}: {json.dumps(o.get('status', {}))}" for ns, o in found)

    def step(self) -> None:
        """One look at every Job and every StatefulSet; what goes meanwhile needs nothing more, no pod least of all."""
        for namespace, play in self.plays.items():
            try:
                self._play(namespace, play)
            except Refused as refused:
                if refused.status != 404 and "being terminated" not in refused.message:
                    raise

    def _play(self, namespace: str, play: Play) -> None:
        for job in self.all("Job", namespace, CHILD_SELECTOR):
            if not job.get("status", {}).get("completionTime") and not _is_finished(job):
                self._job(job, play)
        for replicas in self.all("StatefulSet", namespace, CHILD_SELECTOR):
            self._stateful_set(replicas)

    # Jobs.

    def _job(self, job: Raw, play: Play) -> None:
        namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
        component = job["metadata"]["labels"][COMPONENT]
        if job["spec"].get("suspend"):
            self._suspend(job)
        elif self.get("Pod", namespace, f"{name}-x") is None:
            self._resume(job)
            address = self._serve(SERVING_PORT, lambda: PROGRESS, "/progress")
            labels = {"batch.kubernetes.io/job-name": name}
            self._run_pod(job, f"{name}-x", labels, address, hidden=play.unlabelled)
        elif component not in play.hold:
            ending = play.endings.get(name) or Ending(self._work(component, job, play))
            self._end_pod(namespace, f"{name}-x", ending)
            self._end_job(namespace, name, ending)

    def _suspend(self, job: Raw) -> None:
        """As the job controller does, the pod's grace cut short."""
        namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
        if self.get("Pod", namespace, f"{name}-x"):
            self.delete("Pod", namespace, f"{name}-x")
        if not _is_suspended(job):
            self._say_suspended(namespace, name, "True", None)

    def _resume(self, job: Raw) -> None:
        if _is_suspended(job):
            self._say_suspended(job["metadata"]["namespace"], job["metadata"]["name"], "False", _now())

    def _say_suspended(self, namespace: str, name: str, status: str, start: str | None) -> None:
        condition = {"type": "Suspended", "status": status, "reason": "Played", "lastTransitionTime": _now()}
        change = {"status": {"startTime": start, "conditions": [condition]}}
        self.patch("Job", namespace, name, change, "status")

    def _work(self, component: str, job: Raw, play: Play) -> Model:
        """What the program in the pod does, and its report."""
        if component == "probe":
            return ProbeReport(interface=CARTPOLE, packages=digest("9"), findings=Findings(deterministic=True))
        if component == "trainer":
            task = task_of(TrainingTask, job)
            files = {"policy.onnx": f"network of seed {task.spec.seed}".encode()}
            store = self._store(job, task.store)
            manifest = artifacts.export(store, files, task.interface, task.spec.algorithm.name, opset=17)
            return TrainingReport(manifest=manifest, progress=Progress(steps=5000, total=5000, percent=100))
        return self._evaluate(job, task_of(EvaluationTask, job), play)

    def _evaluate(self, job: Raw, task: EvaluationTask, play: Play) -> EvaluationReport:
        store, episodes = self._store(job, task.store), task.episodes
        artifacts.load_run(store, task.manifest)
        results = EvaluationResults(
            manifest=task.manifest.digest,
            seeds=list(range(episodes)),
            returns=[play.returns] * episodes,
            lengths=[1] * episodes,
        )
        data = results.model_dump_json(by_alias=True).encode()
        results_at = _reference(store.put(f"{task.store.write_prefix}results.json", data))
        parent = None
        if task.parent and task.policies:
            name, digest = task.parent.name, task.parent.artifact.digest
            with suppress(NotFound):  # the evaluator goes on without
                artifacts.load(self._store(job, task.policies), task.parent.artifact)
                parent = Agreement(name=name, digest=digest, steps=1, agreed=1.0)
        recording = recordings.pack(Recording(returns=results.returns, parent=parent))
        recording_at = _reference(store.put(f"{task.store.write_prefix}recording.json.gz", recording))
        return EvaluationReport(results=results_at, recording=recording_at)

    def _store(self, workload: Raw, location: StoreLocation) -> Store:
        """The store, by the session that the workload's pods mount."""
        volumes = workload["spec"]["template"]["spec"]["volumes"]
        name = next(v["secret"]["secretName"] for v in volumes if v["name"] == "store")
        secret = self.get("Secret", workload["metadata"]["namespace"], name)
        assert secret, f"{workload['metadata']['name']} mounts Secret {name}, which does not exist"
        session = StoreCredentials.model_validate_json(base64.b64decode(secret["data"]["credentials.json"]))
        return Store(location, lambda: session)

    def _end_job(self, namespace: str, name: str, ending: Ending) -> None:
        """As the job controller does: the finished pod first, then this."""
        now, told = _now(), _now(ending.ahead)
        kinds = ("SuccessCriteriaMet", "Complete") if ending.exit_code == 0 else ("FailureTarget", "Failed")
        conditions = [
            {"type": k, "status": "True", "reason": "Played", "lastTransitionTime": told, "lastProbeTime": now}
            for k in kinds
        ]
        counts = {"succeeded": 1, "completionTime": now} if ending.exit_code == 0 else {"failed": 1}
        start = (self.get("Job", namespace, name) or {}).get("status", {}).get("startTime", now)
        change = {"startTime": start, "conditions": conditions, **counts}
        self.patch("Job", namespace, name, {"status": change}, "status")

    def ended_now(self, namespace: str, name: str) -> None:
        """A Job's end, told of by a clock that is right."""
        conditions = (self.get("Job", namespace, name) or {})["status"]["conditions"]
        change = {"status": {"conditions": [{**c, "lastTransitionTime": _now()} for c in conditions]}}
        self.patch("Job", namespace, name, change, "status")

    # Replicas.

    def _stateful_set(self, replicas: Raw) -> None:
        namespace, name = replicas["metadata"]["namespace"], replicas["metadata"]["name"]
        for index in range(replicas["spec"]["replicas"]):
            if self.get("Pod", namespace, f"{name}-{index}") is None:
                address = self._serve(MANAGEMENT_PORT, lambda: self._agent_report(replicas), "/status")
                self._run_pod(replicas, f"{name}-{index}", {}, address)

    def _agent_report(self, replicas: Raw) -> AgentReport:
        """Loads what its AgentDeployment's status names, verified."""
        namespace, name = replicas["metadata"]["namespace"], replicas["metadata"]["labels"][OWNER_NAME]
        status = (self.get("AgentDeployment", namespace, name) or {}).get("status", {})
        store = self._store(replicas, task_of(AgentTask, replicas).store)
        named = [status[key] for key in ("stable", "candidate") if key in status]
        for pointer in named:
            # Kept, as by a replica: where loading takes longer than who asks will wait, the next answer is in time.
            if (what := f"{namespace}/{name}/{pointer['artifact']['digest']}") not in self._loaded:
                artifacts.load(store, Artifact.model_validate(pointer["artifact"]))
                self._loaded.add(what)
        loaded = [LoadedPolicy(name=p["name"], digest=p["artifact"]["digest"], ready=True) for p in named]
        return AgentReport(epoch=status.get("epoch", 0), policies=loaded)

    # Pods.

    def _run_pod(self, owner: Raw, name: str, labels: Mapping[str, str], address: str, *, hidden: bool = False) -> None:
        meta, template = owner["metadata"], owner["spec"]["template"]
        reference = {k: owner.get(k) or _kind(owner)[k] for k in ("apiVersion", "kind")}
        reference |= {"name": meta["name"], "uid": meta["uid"], "controller": True}
        all_labels = {**template["metadata"]["labels"], **labels}
        if hidden:
            del all_labels[MANAGED_BY_LABEL]
        metadata = {"name": name, "labels": all_labels, "ownerReferences": [reference]}
        claims = [claim["metadata"]["name"] for claim in owner["spec"].get("volumeClaimTemplates", ())]
        claimed = [{"name": c, "persistentVolumeClaim": {"claimName": f"{c}-{name}"}} for c in claims]
        spec = {**template["spec"], "volumes": [*template["spec"]["volumes"], *claimed], "nodeName": "played"}
        self.create("Pod", meta["namespace"], {"metadata": metadata, "spec": spec})
        status = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [_container(template, {"running": {"startedAt": _now()}})],
        }
        self.patch("Pod", meta["namespace"], name, {"status": status}, "status")

    def _end_pod(self, namespace: str, name: str, ending: Ending) -> None:
        """As the kubelet does."""
        pod = self.get("Pod", namespace, name)
        assert pod
        terminated = {
            "exitCode": ending.exit_code,
            "reason": "Error" if ending.exit_code else "Completed",
            "message": ending.report.model_dump_json(by_alias=True, exclude_none=True) if ending.report else "",
            "startedAt": _now(),
            "finishedAt": _now(),
        }
        status = {
            "phase": "Failed" if ending.exit_code else "Succeeded",
            "conditions": [{"type": "Ready", "status": "False"}],
            "containerStatuses": [_container(pod, {"terminated": terminated})],
        }
        self.patch("Pod", namespace, name, {"status": status}, "status")

    def _serve(self, port: int, answer: Callable[[], Model], path: str) -> str:
        """A program that answers GET on an address of its own; the address."""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = answer().model_dump_json(by_alias=True).encode() if self.path == path else b""
                self.send_response(200 if body else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        address, server = self._bound(port, Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        self._servers.append(server)
        return address

    def _bound(self, port: int, handler: type[BaseHTTPRequestHandler]) -> tuple[str, ThreadingHTTPServer]:
        """On the next address that no other test's stand-in has."""
        for address in self._addresses:
            with suppress(OSError):
                return address, ThreadingHTTPServer((address, port), handler)
        raise ClusterError("no loopback address is free")


def _reference(stored: StoredObject) -> FileReference:
    return FileReference(key=stored.key, digest=stored.digest, size=stored.size)


def _is_suspended(job: Raw) -> bool:
    """The job controller has seen that it is to stand still."""
    said = {c["type"]: c["status"] for c in job.get("status", {}).get("conditions", ())}
    return said.get("Suspended") == "True"


def _is_finished(job: Raw) -> bool:
    conditions = job.get("status", {}).get("conditions", ())
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)


def _kind(owner: Raw) -> dict[str, str]:
    """Items of a list do not say what they are."""
    kind = "Job" if "backoffLimit" in owner["spec"] else "StatefulSet"
    return {"apiVersion": KINDS[kind].api_version, "kind": kind}


def _container(pod: Raw, state: Raw) -> Raw:
    [container] = pod["spec"]["containers"] if "containers" in pod["spec"] else pod["spec"]["template"]["spec"]
    running = "running" in state
    about = {"name": container["name"], "image": container["image"], "imageID": IMAGE}
    return {**about, "ready": running, "started": running, "restartCount": 0, "state": state}


def task_of(model: type[M], workload: Raw) -> M:
    """What the operator hands the workload's pods."""
    [container] = workload["spec"]["template"]["spec"]["containers"]
    return model.model_validate_json(next(e["value"] for e in container["env"] if e["name"] == "CHECKREIN_TASK"))


def _now(ahead: float = 0.0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=ahead)).strftime("%Y-%m-%dT%H:%M:%SZ")
