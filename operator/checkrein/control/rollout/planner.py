"""Observe, plan, act: the plan for an AgentDeployment, put together."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from checkrein.api import names
from checkrein.api.deployment import AgentDeployment, AgentDeploymentStatus
from checkrein.control import overrides, replicas
from checkrein.control.children import POD_CREATION_PATIENCE, held_by
from checkrein.control.conditions import Writer
from checkrein.control.fresh import pod_trouble, refused
from checkrein.control.plan import Answers, Manifest, Plan, Unavailable
from checkrein.control.requests import EnsureSession, EnsureTokenKey
from checkrein.control.rollout import history, news, outcomes, phases, watch
from checkrein.control.rollout.scene import Observed, Scene
from checkrein.control.workloads import agents
from checkrein.control.workloads.pods import owner_reference

LOOK_SOON = timedelta(milliseconds=250)
LOADING = timedelta(seconds=2)
STORE_RETRY = timedelta(seconds=5)
REPORTS = timedelta(seconds=30)
"""Between two looks at the replicas' reports where nothing is under way, and at the Secrets' age."""


def plan(agent: AgentDeployment, observed: Observed, answers: Answers, now: datetime) -> Plan:
    """What to do next. Asks for Secrets, for what each replica says of itself, and for evidence."""
    write = Writer(agent.metadata, now)
    status = overrides.told(agent, _counted(agent, observed), write)
    try:
        _secrets(agent, observed, answers)
    except Unavailable as no:
        status = write.put(status, "Progressing", False, no.reason, no.message)
        status = _readiness(status, agent, observed, answers, write, reports={})
        return Plan(status=status, after=STORE_RETRY)
    scene = Scene(agent, observed, answers, replicas.heard(observed.pods, answers), write)
    status = _advanced(scene, status)
    status = replicas.standby(agent, status, observed.versions, scene.reports, write)
    status = replicas.honoured(replicas.logging(status, scene.reports, write), scene.reports, write)
    status = _readiness(status, agent, observed, answers, write, scene.reports)
    return Plan(
        status=status,
        apply=_changed(agents.objects(agent, observed.settings, observed.cluster), observed),
        news=news.news(agent, status),
        after=_next_look(scene, status),
    )


def _advanced(scene: Scene, status: AgentDeploymentStatus) -> AgentDeploymentStatus:
    """The rollout's next state, with its epoch."""
    before = scene.agent.status
    status = watch.watching(scene, status)
    status = outcomes.counted(before, phases.advance(scene, status))
    # Not where something has just changed: a store that hangs must not keep an abort from being told.
    return history.caught_up(scene, status) if status.candidate is None and status.epoch == before.epoch else status


def _next_look(scene: Scene, status: AgentDeploymentStatus) -> timedelta:
    """When something may have changed that no watch tells."""
    usual = LOADING if replicas.is_loading(status) else REPORTS
    if replicas.fallen_back(scene.observed.pods, scene.reports, status.stable):
        usual = min(usual, STORE_RETRY)
    if scene.agent.status.epoch != status.epoch and status.candidate is None:
        unstored = any(not e.stored for e in status.history)
        usual = min(usual, LOADING) if unstored else usual
    usual = phases.next_look(scene, status, LOOK_SOON, usual)
    left = overrides.time_left(scene.agent, scene.now)
    return usual if left is None else min(usual, left)


def _secrets(agent: AgentDeployment, observed: Observed, answers: Answers) -> None:
    """The replicas' store session and the key of their tokens exist. Raises Unanswered, Unavailable."""
    owner = tuple(sorted(owner_reference(agents.KIND, agent.metadata).items()))
    namespace, name = agent.metadata.namespace, agent.metadata.name
    answers.ask(
        EnsureTokenKey(
            namespace=namespace,
            name=names.token_key(name),
            owner=owner,
            rotate_seconds=observed.settings.token_key_seconds,
        )
    )
    answers.ask(
        EnsureSession(
            namespace=namespace,
            name=names.credentials(names.agent(name)),
            role="agent",
            location=agents.policies_location(observed.settings),
            owner=owner,
            decisions=agents.decisions_location(agent, observed.settings, observed.cluster),
        )
    )


def _changed(desired: tuple[Manifest, ...], observed: Observed) -> tuple[Manifest, ...]:
    """The children that are missing or were applied from another spec."""

    def digest(obj: Mapping[str, Any] | None) -> str | None:
        if obj is None or held_by(obj):  # it does nothing any more; to apply it tells why
            return None
        return str(obj["metadata"].get("annotations", {}).get(agents.DESIRED))

    return tuple(o for o in desired if digest(o) != digest(observed.children.get((o["kind"], o["metadata"]["name"]))))


def _counted(agent: AgentDeployment, observed: Observed) -> AgentDeploymentStatus:
    """The status with what the scale subresource shows."""
    selector = ",".join(f"{k}={v}" for k, v in sorted(names.selector("agent", agent.metadata.name).items()))
    living = [p for p in observed.pods if not p.deleting]
    return agent.status.model_copy(
        update={
            "replicas": len(living),
            "ready_replicas": sum(p.ready for p in living),
            "selector": selector,
        }
    )


def _readiness(
    status: AgentDeploymentStatus,
    agent: AgentDeployment,
    observed: Observed,
    answers: Answers,
    write: Writer,
    reports: replicas.Reports,
) -> AgentDeploymentStatus:
    """Ready: somebody who may decides on at least one replica, whatever the rollout does."""
    wanted, ready = agent.spec.replicas, status.ready_replicas
    override = overrides.active(agent, write.now)
    if wanted == 0 and status.replicas == 0:
        return write.put(status, "Ready", False, "ScaledToZero", "spec.replicas is 0", phase="Pending")
    kept = None if ready else _kept(agent, observed, answers, write.now)
    if status.stable is None and override is None:
        message = "no version has passed its checks yet" + (f"; {kept[0]}: {kept[1]}" if kept else "")
        return write.put(status, "Ready", False, "NoPolicy", message, phase="Pending")
    if override and override.mode == "Stop":
        return write.put(status, "Ready", False, "Stopped", "spec.override: no decision is given", phase="Overridden")
    if ready == 0:
        reason, message = kept or ("NoReplicaReady", f"0 of {wanted} replicas are ready")
        return write.put(status, "Ready", False, reason, message, phase="Degraded")
    if override:
        message = f"spec.override ({override.mode}) decides on {ready} of {wanted} replicas"
        return write.put(status, "Ready", True, "Overridden", message, phase="Overridden")
    assert status.stable is not None
    fallen_back = replicas.fallen_back(observed.pods, reports, status.stable)
    deciding = ready - len(fallen_back)
    phase = "Healthy" if deciding >= wanted else "Degraded"
    if status.candidate or phases.is_waiting(status):
        phase = "Paused" if phases.is_waiting(status) else "Progressing"
    message = f"{status.stable.name} decides on {deciding} of {wanted} replicas"
    if fallen_back:
        pod, why = fallen_back[0]
        more = f", likewise at {len(fallen_back) - 1} more" if len(fallen_back) > 1 else ""
        message += f"; spec.fallback decides on {pod}: {why}{more}"
    return write.put(status, "Ready", True, "Deciding", message, phase=phase)


def _kept(agent: AgentDeployment, observed: Observed, answers: Answers, now: datetime) -> tuple[str, str] | None:
    """What keeps replicas from running, where that is known. Raises Unanswered."""
    namespace, name = agent.metadata.namespace, names.agent(agent.metadata.name)
    for pod in observed.pods:
        if kept := pod_trouble(pod, namespace, answers, now):
            return kept
    made = observed.children.get(("StatefulSet", name), {}).get("metadata", {})
    since = datetime.fromisoformat(made.get("creationTimestamp", now.isoformat()))
    if observed.pods or now - since < POD_CREATION_PATIENCE:
        return None
    return refused(f"StatefulSet {name}", made["uid"], namespace, answers)
