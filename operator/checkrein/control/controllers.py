"""One controller for each kind: its model, what its planner observes, whom a change of it concerns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from checkrein.api.deployment import AgentDeployment
from checkrein.api.environment import RLEnvironment
from checkrein.api.meta import Model
from checkrein.api.names import OWNER_KIND, OWNER_NAME
from checkrein.api.policy import PolicyVersion
from checkrein.api.training import TrainingJob
from checkrein.control import environment, policy, rollout
from checkrein.control.cache import Cache, Key, Raw, key_of
from checkrein.control.children import JobView, job_view, pod_view
from checkrein.control.plan import Planner
from checkrein.control.queue import Place
from checkrein.control.reconciled import read, readable
from checkrein.control.settings import Settings
from checkrein.control.training import planner as training
from checkrein.control.training.state import Observed as TrainingObserved


@dataclass(frozen=True)
class Scope:
    """Where observations come from."""

    cache: Cache
    settings: Settings
    cluster: str


@dataclass(frozen=True)
class Controller:
    """How one kind is reconciled. `main` is the condition that tells what keeps it."""

    model: type[Model]
    main: str
    observe: Callable[[Any, Scope], Any]
    plan: Planner


def _jobs(uid: str, scope: Scope) -> dict[str, JobView]:
    pods = scope.cache.children(uid, "Pod")
    views = (job_view(job, pods) for job in scope.cache.children(uid, "Job"))
    return {view.name: view for view in views}


def _observe_environment(env: RLEnvironment, scope: Scope) -> environment.Observed:
    return environment.Observed(jobs=_jobs(env.metadata.uid, scope), settings=scope.settings)


def _observe_training(job: TrainingJob, scope: Scope) -> TrainingObserved:
    raw = scope.cache.get(Key("RLEnvironment", job.metadata.namespace, job.spec.environment_ref.name))
    return TrainingObserved(
        environment=read(RLEnvironment, raw) if raw else None,
        jobs=_jobs(job.metadata.uid, scope),
        settings=scope.settings,
        cluster=scope.cluster,
        parent=_newest_version(job.metadata.namespace, job.spec.publish.policy, scope),
    )


def _newest_version(namespace: str, policy: str, scope: Scope) -> PolicyVersion | None:
    versions = scope.cache.naming(Key("Policy", namespace, policy), "PolicyVersion")
    newest = max(versions, key=lambda version: int(version["spec"]["version"]), default=None)
    return next(iter(readable(PolicyVersion, [newest])), None) if newest else None


def _observe_policy(version: PolicyVersion, scope: Scope) -> policy.Observed:
    key = Key("PolicyVersion", version.metadata.namespace, version.metadata.name)
    naming = readable(AgentDeployment, scope.cache.naming(key, "AgentDeployment"))
    return policy.Observed(deployments=naming, settings=scope.settings)


def _observe_agent(agent: AgentDeployment, scope: Scope) -> rollout.Observed:
    children = scope.cache.children(agent.metadata.uid)
    namespace = agent.metadata.namespace

    def named(kind: str, names: Iterable[str]) -> list[Raw]:
        found = (scope.cache.get(Key(kind, namespace, name)) for name in sorted(names))
        return [obj for obj in found if obj]

    versions = readable(PolicyVersion, named("PolicyVersion", rollout.names_observed(agent)))
    environments = readable(RLEnvironment, named("RLEnvironment", {v.spec.environment.name for v in versions}))
    return rollout.Observed(
        versions={version.metadata.name: version for version in versions},
        environments={environment.metadata.name: environment for environment in environments},
        children={(c["kind"], c["metadata"]["name"]): c for c in children},
        pods=[pod_view(c) for c in children if c["kind"] == "Pod"],
        settings=scope.settings,
        cluster=scope.cluster,
    )


CONTROLLERS: dict[str, Controller] = {
    "RLEnvironment": Controller(RLEnvironment, "Ready", _observe_environment, environment.plan),
    "TrainingJob": Controller(TrainingJob, "Complete", _observe_training, training.plan),
    "PolicyVersion": Controller(PolicyVersion, "Verified", _observe_policy, policy.plan),
    "AgentDeployment": Controller(AgentDeployment, "Progressing", _observe_agent, rollout.plan),
}

ORDER = ("AgentDeployment", "PolicyVersion", "RLEnvironment", "TrainingJob")
"""Whose turns come first: what acts, what it acts by, what others wait for, what takes hours anyway."""


def place(key: Key) -> Place:
    """Where an object stands in line."""
    return Place(ORDER.index(key.kind), key.namespace)


def concerned(obj: Raw, cache: Cache) -> Iterable[Key]:
    """Whom to reconcile when this object appears, changes or goes away."""
    kind, meta = obj["kind"], obj["metadata"]
    namespace, name = meta.get("namespace", ""), meta["name"]
    if kind in CONTROLLERS:
        yield key_of(obj)
    else:
        labels = meta.get("labels", {})
        if OWNER_KIND in labels and OWNER_NAME in labels:
            yield Key(labels[OWNER_KIND], namespace, labels[OWNER_NAME])
    named = Key(kind, namespace, name)
    if kind == "RLEnvironment":
        yield from map(key_of, cache.naming(named, "TrainingJob"))
        yield from _judged_in(named, cache)
    elif kind == "PolicyVersion":
        yield from map(key_of, cache.naming(named, "AgentDeployment"))
    elif kind == "AgentDeployment":
        for agent in readable(AgentDeployment, [obj]):
            yield from _policies_of(agent, named, cache)


def _judged_in(environment: Key, cache: Cache) -> Iterable[Key]:
    """AgentDeployments that watch or try versions of this environment: its reward's bounds are those of the gates."""
    for version in cache.naming(environment, "PolicyVersion"):
        for agent in cache.naming(key_of(version), "AgentDeployment"):
            if agent["spec"].get("strategy"):
                yield key_of(agent)


def _policies_of(agent: AgentDeployment, key: Key, cache: Cache) -> Iterable[Key]:
    """PolicyVersions that it uses and that do not say so, and those that say so though it does not."""
    used = policy.names_used(agent) if cache.get(key) else frozenset()
    said = {version["metadata"]["name"] for version in cache.naming(key, "PolicyVersion")}
    for name in sorted(used ^ said):
        if cache.get(version := Key("PolicyVersion", key.namespace, name)):
            yield version
