"""The four kinds as the operator leaves them, for what is pure in the command."""

from __future__ import annotations

from typing import Any

from tests.api.objects import DIGEST, agent, environment, pointer, policy_version, training

from checkrein.api.deployment import AgentDeployment
from checkrein.api.environment import RLEnvironment
from checkrein.api.policy import PolicyVersion
from checkrein.api.training import TrainingJob
from checkrein.cli.objects import Objects

Raw = dict[str, Any]
NAMESPACE = "games"


def _whole(obj: Raw, status: Raw, **spec: Any) -> Raw:
    meta = {"namespace": NAMESPACE, "uid": f"{obj['metadata']['name']}-uid", "resourceVersion": "7", "generation": 1}
    return {
        "metadata": meta | obj["metadata"],
        "spec": obj["spec"] | spec,
        "status": {"observedGeneration": 1, **status},
    }


def said(type_: str, status: str, reason: str, message: str = "") -> list[Raw]:
    """A list of one condition."""
    at = "2026-12-01T12:00:00Z"
    return [{"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": at}]


def env(name: str = "cartpole", phase: str = "Ready", **status: Any) -> RLEnvironment:
    conditions = said("Ready", "True", "Probed") if phase == "Ready" else []
    known: Raw = {"phase": phase, "digest": DIGEST, "conditions": conditions, "findings": {"stepsPerSecond": 87_405}}
    return RLEnvironment.model_validate(_whole(environment(name), known | status))


def job(name: str = "cartpole-a", phase: str = "Succeeded", **status: Any) -> TrainingJob:
    conditions = said("Complete", "True", "Published") if phase == "Succeeded" else []
    known = {"phase": phase, "conditions": conditions, "attempt": 1}
    return TrainingJob.model_validate(_whole(training(name), known | status))


def version(number: int = 1, phase: str = "Verified", **status: Any) -> PolicyVersion:
    conditions = said("Verified", "True", "Verified") if phase == "Verified" else []
    made = policy_version(f"cartpole-{number}", version=number)
    return PolicyVersion.model_validate(_whole(made, {"phase": phase, "conditions": conditions} | status))


def deployment(name: str = "cart", wanted: str = "cartpole-1", **status: Any) -> AgentDeployment:
    plain = {"policyVersion": wanted, "replicas": 2}
    obj = agent()
    obj["metadata"]["name"], obj["spec"] = name, plain
    ready = said("Ready", "True", "Ready") + said("Progressing", "False", "Complete")
    known = {"phase": "Healthy", "stable": pointer("cartpole-1"), "readyReplicas": 2, "conditions": ready}
    return AgentDeployment.model_validate(_whole(obj, known | status))


def whole() -> Objects:
    """One of each, and a second job that trains."""
    progress = {"steps": 2500, "total": 10_000, "percent": 25, "eta": "30s", "episodeReturn": "120"}
    running = job("cartpole-b", "Running", progress=progress)
    first = job("cartpole-a", policyVersion="cartpole-1")
    return Objects([env()], [first, running], [version(1)], [deployment()])
