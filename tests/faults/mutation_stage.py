"""Where mutations are tried: good objects that stand still, namespaces of their own, and what is asked of each."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

from tests.api.server import Refused, Server
from tests.control.standin import Play, Raw, Standin
from tests.faults.mutation_programs import Programs
from tests.faults.mutation_references import ELSEWHERE
from tests.faults.mutations import sample

from checkrein.api.meta import Model
from checkrein.control.kinds import CHILDREN, KINDS

MAIN = {"RLEnvironment": "Ready", "TrainingJob": "Complete", "PolicyVersion": "Verified", "AgentDeployment": "Ready"}
# What a condition that is not True says while something is still under way, and when nothing is.
NO_COMPLAINT = frozenset(
    {"Probing", "Training", "Evaluating", "Publishing", "Loading", "NoPolicy", "Retrying", "Complete"}
)
OWNED = ("Secret", *(kind.kind for kind in CHILDREN))
MOST_PODS = 3  # the stand-in's node is full then
_VARIES = re.compile(r"[0-9a-f]{8,}|\d+")
_LEFT = ("AgentDeployment", "PolicyVersion", "TrainingJob", "RLEnvironment", "StatefulSet", "Job", "Pod")


class Node(Standin):
    """A stand-in with room for few pods, for many namespaces at once."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.programs = Programs()

    def close(self) -> None:
        """Ends all programs."""
        self.programs.close()

    def _serve(self, port: int, answer: Callable[[], Model], path: str) -> str:
        address = next(self._addresses)
        self.programs.serve(address, port, lambda asked: answer() if asked == path else None)
        return address

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """With all that it owns."""
        gone = self.get(kind, namespace, name) or {"metadata": {"uid": ""}}
        super().delete(kind, namespace, name)
        for owned in OWNED:
            for obj in self.all(owned, namespace):
                if gone["metadata"]["uid"] in {o["uid"] for o in obj["metadata"].get("ownerReferences", ())}:
                    super().delete(owned, namespace, obj["metadata"]["name"])

    def _stateful_set(self, replicas: Raw) -> None:
        replicas["spec"]["replicas"] = min(replicas["spec"]["replicas"], MOST_PODS)
        super()._stateful_set(replicas)


class Stage:
    """Good objects of every kind, and copies of them wherever one is wanted."""

    def __init__(self, node: Node, prefix: str) -> None:
        self.node = node
        self.prefix = prefix
        self._published: Raw = {}

    def build(self) -> None:
        """Two namespaces with good objects: `home`, and another one that mutations refer to; and an empty one."""
        self.node.join(self.empty)
        for namespace, environment in ((self.home, "cartpole"), (f"{self.prefix}-{ELSEWHERE}", ELSEWHERE)):
            self.node.join(namespace)
            self.create(namespace, sample("RLEnvironment"), environment)
        job = sample("TrainingJob")
        self.create(self.home, job)
        self.create(self.home, sample("AgentDeployment"))
        for kind in ("RLEnvironment", "TrainingJob", "AgentDeployment"):
            name = sample(kind)["metadata"]["name"]
            self.node.until(lambda k=kind, n=name: self.served(k, self.home, n), f"{kind} is served")  # type: ignore[misc]
        self._published = self.node.get("PolicyVersion", self.home, "cartpole-1") or {}
        self.create(f"{self.prefix}-{ELSEWHERE}", self.good("PolicyVersion"), f"{ELSEWHERE}-1")

    @property
    def home(self) -> str:
        """The namespace where everything is good and stands still."""
        return f"{self.prefix}-home"

    @property
    def empty(self) -> str:
        """The namespace where nothing is."""
        return f"{self.prefix}-empty"

    def good(self, kind: str) -> Raw:
        """The sample; a PolicyVersion points at bytes that are there."""
        if kind != "PolicyVersion":
            return sample(kind)
        metadata = {"name": "cartpole-1"}
        return sample(kind) | {"metadata": metadata, "spec": copy.deepcopy(self._published["spec"])}

    def rebased(self, obj: Raw) -> Raw:
        """A mutated PolicyVersion with the published one's fields wherever the sample was left as it was."""
        return _rebased(obj, sample("PolicyVersion"), self.good("PolicyVersion")) if self._published else obj

    def furnish(self, namespace: str, kind: str) -> Play:
        """A namespace with what an object of this kind needs."""
        play = self.node.join(namespace)
        if kind in ("TrainingJob", "AgentDeployment"):
            self.create(namespace, self.good("RLEnvironment"))
        if kind == "AgentDeployment":
            self.create(namespace, self.good("PolicyVersion"))
        return play

    def create(self, namespace: str, obj: Raw, name: str = "") -> Raw:
        """Creates a copy, under another name where one is given."""
        made = copy.deepcopy(obj)
        if name:
            made["metadata"]["name"] = name
        if name and made["kind"] == "PolicyVersion":
            made["spec"]["policy"] = name.removesuffix("-1")
        return self.node.create(made["kind"], namespace, made)

    def neighbour(self, namespace: str, kind: str) -> str:
        """A good object beside the subject; its name."""
        name = {"PolicyVersion": "neighbour-1"}.get(kind, "neighbour")
        obj = self.good(kind)
        if kind == "TrainingJob":
            obj["spec"]["publish"]["policy"] = "neighbour"
        self.create(namespace, obj, name)
        return name

    def put(self, namespace: str, obj: Raw, *, dry_run: bool = False) -> None:
        """The object in the place of what is there, whose status the operator may be writing. Raises Refused."""
        kind, name = obj["kind"], obj["metadata"]["name"]
        path = KINDS[kind].path(namespace, name)
        for attempt in range(5):
            there = self.node.server.send("GET", path)
            meta = {**obj["metadata"], "resourceVersion": there["metadata"]["resourceVersion"], "namespace": namespace}
            try:
                self.node.server.send("PUT", path, {**obj, "metadata": meta}, dry_run=dry_run)
                return
            except Refused as refused:
                if refused.status != 409 or attempt == 4:
                    raise

    def clear(self, namespace: str) -> None:
        """Takes everything out of a namespace, and the namespace out of the play."""
        self.node.plays.pop(namespace, None)
        for kind in _LEFT:
            options = {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
            self.node.server.send("DELETE", KINDS[kind].path(namespace), options)

    # What is asked.

    def condition(self, kind: str, obj: Raw) -> Raw:
        """The one that tells most."""
        found: list[Raw] = obj.get("status", {}).get("conditions", [])
        return next((c for c in found if c["type"] == MAIN[kind]), {})

    def served(self, kind: str, namespace: str, name: str) -> bool:
        """It is what a good object becomes."""
        obj = self.node.get(kind, namespace, name)
        return obj is not None and _current(obj) and self.condition(kind, obj).get("status") == "True"

    def complaint(self, kind: str, namespace: str, name: str) -> str:
        """What its conditions say against it, as they stand now; empty where nothing is, or not yet."""
        obj = self.node.get(kind, namespace, name)
        if obj is None or not _current(obj):
            return ""
        bad = [
            c
            for c in obj["status"].get("conditions", ())
            if c["status"] != "True" and c["type"] not in ("Stalled", "Failed") and c["reason"] not in NO_COMPLAINT
        ]
        return "; ".join(f"{c['type']}={c['reason']}: {c['message']}" for c in bad if c["message"])

    def fingerprint(self, kind: str, namespace: str, name: str) -> Any:
        """How it stands, without what differs between equal ones: times, numbers, digests."""
        obj = self.node.get(kind, namespace, name) or {}
        status = obj.get("status", {})
        conditions = sorted(f"{c['type']} {c['status']} {c['reason']}" for c in status.get("conditions", ()))
        # Of its log a replica tells when it has one; an override that was, and a refusal that was, stay on record.
        passing = ("Logging", "Overridden", "SpecHonoured")
        kept = [c for c in conditions if not c.startswith(passing)]
        pointer = (status.get("stable") or {}).get("name"), (status.get("candidate") or {}).get("name")
        spec = _VARIES.sub("#", str(obj.get("spec")))
        return spec, status.get("phase"), kept, pointer, _VARIES.sub("#", str(status.get("policyVersion")))


def _current(obj: Raw) -> bool:
    """Its status speaks of its spec as it is now."""
    status = obj.get("status", {})
    return bool(status.get("conditions")) and status.get("observedGeneration") == obj["metadata"]["generation"]


def _rebased(mutated: Any, before: Any, real: Any) -> Any:
    if mutated == before:
        return copy.deepcopy(real)
    if not (isinstance(mutated, dict) and isinstance(before, dict) and isinstance(real, dict)):
        return mutated
    return {
        key: _rebased(value, before[key], real[key]) if key in before and key in real else value
        for key, value in mutated.items()
    }
