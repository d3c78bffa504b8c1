"""A namespace as a user sees it: apply, patch, wait for conditions, read logs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.cluster.cluster import Cluster
from tests.cluster.kubectl import KubectlError
from tests.cluster.steps import ClusterError, wait_until

API_VERSION = "checkrein.dev/v1alpha1"
PATIENCE = 300  # seconds; every wait ends by its condition
SMALL = {"requests": {"cpu": "50m", "memory": "128Mi"}}

Object = dict[str, Any]


class World:
    """One namespace of one cluster."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name

    def create(self) -> None:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.cluster.kubectl.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name, "labels": labels}}
        )

    def remove(self) -> None:
        """Starts the deletion of all that is in it; the cluster's end does not depend on it."""
        self.kubectl("delete", "namespace", self.name, "--ignore-not-found", "--wait=false")

    def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = 120) -> str:
        """kubectl in this namespace."""
        return self.cluster.kubectl("-n", self.name, *arguments, stdin=stdin, seconds=seconds)

    def apply(self, kind: str, name: str, spec: Mapping[str, Any], labels: Mapping[str, str] | None = None) -> None:
        """Applies one of our resources."""
        metadata = {"name": name, "labels": dict(labels or {})}
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": dict(spec)}
        self.cluster.kubectl.apply(body, namespace=self.name)

    def patch(self, kind: str, name: str, spec: Mapping[str, Any]) -> None:
        """Merges into an object's spec."""
        self.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def get(self, kind: str, name: str) -> Object:
        """One object; an empty one where there is none."""
        found = self.kubectl("get", kind, name, "--ignore-not-found", "-o", "json")
        return json.loads(found) if found.strip() else {}

    def items(self, kind: str, selector: str = "") -> list[Object]:
        """All objects of a kind."""
        found: list[Object] = json.loads(self.kubectl("get", kind, "-l", selector, "-o", "json"))["items"]
        return found

    def until(
        self, kind: str, name: str, holds: Callable[[Object], bool], what: str = "", seconds: float = PATIENCE
    ) -> Object:
        """Waits until the object satisfies `holds`. Raises ClusterError with what it was last."""
        last: Object = {}

        def check() -> bool:
            nonlocal last
            try:
                last = self.get(kind, name)
            except KubectlError:
                return False
            return bool(last) and holds(last)

        def failure() -> ClusterError:
            return ClusterError(f"{kind} {name}: not {what or 'as wanted'} after {seconds} s: {last.get('status')}")

        wait_until(check, seconds, otherwise=failure)
        return last

    def until_condition(self, kind: str, name: str, type_: str, status: str, reason: str = "") -> str:
        """Waits for a condition of this status (and reason); returns its message."""

        def holds(obj: Object) -> bool:
            found = condition(obj, type_)
            return found.get("status") == status and reason in ("", found.get("reason"))

        obj = self.until(kind, name, holds, f"{type_}={status} {reason}")
        return str(condition(obj, type_).get("message", ""))

    def until_refused(self, command: Sequence[str], stdin: str, words: str) -> None:
        """Waits until the API server refuses what kubectl asks, with these words."""

        def refused() -> bool:
            try:
                self.kubectl(*command, stdin=stdin)
            except KubectlError as error:
                return words in str(error)
            return False

        wait_until(refused, PATIENCE, otherwise=lambda: ClusterError(f"{command}: not refused with {words!r}"))

    def node(self) -> str:
        """The name of the cluster's first node."""
        return self.cluster.kubectl("get", "nodes", "-o", "name").split()[0].removeprefix("node/")

    def environment(self, name: str, id_: str, **spec: Any) -> None:
        """An RLEnvironment; ids of `bad/...` run in the image that has them."""
        source: Object = {"id": id_}
        if id_.startswith("bad/"):
            source["module"] = "badenvs"
            spec["image"] = self.cluster.images["badenvs"]
        self.apply("RLEnvironment", name, {"source": {"gymnasium": source}, **spec})

    def cartpole(self) -> None:
        """The environment of most tests, Ready."""
        self.environment("cartpole", "CartPole-v1", reward={"bounds": {"min": "0", "max": "500"}})
        self.until_condition("rlenvironment", "cartpole", "Ready", "True")

    def train(
        self, name: str, environment: str = "cartpole", labels: Mapping[str, str] | None = None, **spec: Any
    ) -> None:
        """A TrainingJob that takes seconds, unless `spec` says otherwise."""
        base: Object = {
            "environmentRef": {"name": environment},
            "algorithm": {"name": "PPO", "hyperparameters": {"n_steps": 64}},
            "budget": {"steps": 512},
            "evaluation": {"episodes": 5},
            "publish": {"policy": "cartpole"},
            "template": {"resources": SMALL},
        }
        self.apply("TrainingJob", name, {**base, **spec}, labels)

    def trained(self, name: str) -> str:
        """The PolicyVersion that a TrainingJob published."""
        self.until_condition("trainingjob", name, "Complete", "True")
        return str(self.get("trainingjob", name)["status"]["policyVersion"])

    def deploy(self, version: str, **spec: Any) -> None:
        """An AgentDeployment named `agent`."""
        self.apply("AgentDeployment", "agent", {"policyVersion": version, "template": {"resources": SMALL}, **spec})

    def deciding(self, version: str, replicas: int = 1) -> Object:
        """Waits until this version decides on so many replicas."""

        def holds(agent: Object) -> bool:
            status = agent["status"]
            return (status.get("stable") or {}).get("name") == version and status.get("readyReplicas") == replicas

        return self.until("agentdeployment", "agent", holds, f"deciding by {version}")


def condition(obj: Object, type_: str) -> Mapping[str, str]:
    """The condition of this type; an empty one where there is none."""
    listed = obj.get("status", {}).get("conditions", ())
    return next((c for c in listed if c["type"] == type_), {})
