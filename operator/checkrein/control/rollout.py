"""Plan for an AgentDeployment: keep the replicas, and let a version act only after its checks.

A version that is asked for becomes the candidate: verified, with the interface that callers know. Every replica
loads it beside the stable one and makes warm-up decisions; when all that run have done so, one status write makes
it stable. Nothing else changes who acts, but a person: while spec.override holds, no version moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from checkrein.api import conditions, names
from checkrein.api.deployment import AgentDeployment, AgentDeploymentStatus, PolicyPointer, Rejection
from checkrein.api.policy import PolicyVersion
from checkrein.api.tasks import LoadedPolicy
from checkrein.control import overrides, replicas
from checkrein.control.children import PodView
from checkrein.control.conditions import Writer
from checkrein.control.plan import Answers, Manifest, Plan, Unavailable
from checkrein.control.requests import EnsureSession, EnsureTokenKey
from checkrein.control.settings import Settings
from checkrein.control.workloads import agents
from checkrein.control.workloads.pods import owner_reference

LOOK_SOON = timedelta(milliseconds=250)
LOADING = timedelta(seconds=2)
STORE_RETRY = timedelta(seconds=5)
REPORTS = timedelta(seconds=30)
"""Between two looks at the replicas' reports where nothing is under way, and at the Secrets' age."""
REJECTED_LIMIT = 16


@dataclass(frozen=True)
class Observed:
    """What the planner sees beside the object itself. `children` are keyed by (kind, name)."""

    versions: Mapping[str, PolicyVersion]
    children: Mapping[tuple[str, str], Mapping[str, Any]]
    pods: Sequence[PodView]
    settings: Settings
    cluster: str


def plan(agent: AgentDeployment, observed: Observed, answers: Answers, now: datetime) -> Plan:
    """What to do next. Asks for Secrets, and for what each replica says of itself."""
    write = Writer(agent.metadata, now)
    status = overrides.told(agent, _counted(agent, observed), write)
    try:
        _secrets(agent, observed, answers)
    except Unavailable as no:
        status = _readiness(write.put(status, "Progressing", False, no.reason, no.message), agent, observed, write)
        return Plan(status=status, after=STORE_RETRY)
    reports = replicas.heard(observed.pods, answers)
    status = _advance(agent, status, observed, reports, write)
    status = replicas.standby(agent, status, observed.versions, reports, write)
    status = replicas.honoured(replicas.logging(status, reports, write), reports, write)
    status = _readiness(status, agent, observed, write)
    return Plan(
        status=status,
        apply=_changed(agents.objects(agent, observed.settings, observed.cluster), observed),
        after=_next_look(agent, status, now),
    )


def _next_look(agent: AgentDeployment, status: AgentDeploymentStatus, now: datetime) -> timedelta:
    """When something may have changed that no watch tells."""
    held, left = overrides.active(agent, now), overrides.time_left(agent, now)
    usual = LOOK_SOON if status.candidate and not held else LOADING if replicas.is_loading(status) else REPORTS
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
        return obj["metadata"].get("annotations", {}).get(agents.DESIRED) if obj else None

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


def _advance(
    agent: AgentDeployment,
    status: AgentDeploymentStatus,
    observed: Observed,
    reports: replicas.Reports,
    write: Writer,
) -> AgentDeploymentStatus:
    """One step from stable towards the version that is wanted, unless a person holds the reins."""
    wanted = agent.spec.policy_version
    if status.stable and status.stable.name == wanted:
        message = f"PolicyVersion {wanted} decides"
        return write.put(status, "Progressing", False, "Complete", message, candidate=None)
    if overrides.active(agent, write.now):
        message = f"PolicyVersion {wanted} waits until spec.override ends"
        kept = status.candidate if status.candidate and status.candidate.name == wanted else None
        return write.put(status, "Progressing", False, "Overridden", message, candidate=kept)
    if refusal := _refuse(agent, status, observed):
        return write.put(status, "Progressing", False, *refusal, candidate=None)
    version = observed.versions[wanted]
    candidate = PolicyPointer(name=wanted, artifact=version.spec.artifact, interface=version.spec.interface)
    status = status.model_copy(update={"candidate": candidate})
    return _check(agent, status, candidate, reports, write)


def _refuse(agent: AgentDeployment, status: AgentDeploymentStatus, observed: Observed) -> tuple[str, str] | None:
    """Why the wanted version may not even be loaded: reason and sentence."""
    wanted = agent.spec.policy_version
    version = observed.versions.get(wanted)
    kept = f"; {status.stable.name} goes on deciding" if status.stable else ""
    if version is None:
        return "PolicyVersionNotFound", (
            f"spec.policyVersion: no PolicyVersion {wanted!r} in this namespace; it decides once it exists{kept}"
        )
    verified = conditions.get(version.status.conditions, "Verified")
    if verified is None or verified.status != "True":
        said = f" ({verified.reason}: {verified.message})" if verified else ""
        return "PolicyNotVerified", f"spec.policyVersion: PolicyVersion {wanted} is not verified{said}{kept}"
    if status.stable and status.stable.interface != version.spec.interface:
        return "InterfaceMismatch", (
            f"spec.policyVersion: PolicyVersion {wanted} has other spaces than {status.stable.name}, "
            f"which callers know; create another AgentDeployment for it{kept}"
        )
    for rejection in status.rejected:
        if rejection.name == wanted and rejection.generation == agent.metadata.generation:
            return rejection.reason, rejection.message
    return None


def _check(
    agent: AgentDeployment,
    status: AgentDeploymentStatus,
    candidate: PolicyPointer,
    reports: replicas.Reports,
    write: Writer,
) -> AgentDeploymentStatus:
    """Has every running replica loaded and warmed up the candidate?"""
    loads = [replicas.loaded(report, candidate.artifact.digest) for report in reports.values()]
    for load in loads:
        if load and not load.ready and load.permanent:
            return _reject(agent, status, load, write)
    if loads and all(load and load.ready for load in loads):
        return _promote(status, candidate, write)
    ready = sum(bool(load and load.ready) for load in loads)
    trouble = next((f"; {load.reason}: {load.message}" for load in loads if load and load.reason), "")
    message = f"{candidate.name} is loaded and warmed up on {ready} of {len(loads)} running replicas{trouble}"
    return write.put(status, "Progressing", True, "Loading", message)


def _promote(status: AgentDeploymentStatus, candidate: PolicyPointer, write: Writer) -> AgentDeploymentStatus:
    before = f", before it {status.stable.name}" if status.stable else ""
    return write.put(
        status,
        "Progressing",
        False,
        "Complete",
        f"PolicyVersion {candidate.name} decides{before}",
        stable=candidate,
        candidate=None,
        epoch=status.epoch + 1,
    )


def _reject(
    agent: AgentDeployment, status: AgentDeploymentStatus, load: LoadedPolicy, write: Writer
) -> AgentDeploymentStatus:
    """The candidate failed its checks: not tried again until the spec changes."""
    kept = f"; {status.stable.name} goes on deciding" if status.stable else ""
    wanted = agent.spec.policy_version  # a replica may know the same bytes by another version's name
    message = f"spec.policyVersion: {wanted}: {load.message}{kept}"
    entry = Rejection(name=wanted, reason=load.reason, message=message, generation=agent.metadata.generation)
    others = [r for r in status.rejected if r.name != wanted]
    rejected = [*others, entry][-REJECTED_LIMIT:]
    return write.put(status, "Progressing", False, load.reason, message, candidate=None, rejected=rejected)


def _readiness(
    status: AgentDeploymentStatus, agent: AgentDeployment, observed: Observed, write: Writer
) -> AgentDeploymentStatus:
    """Ready: somebody who may decides on at least one replica, whatever the rollout does."""
    wanted, ready = agent.spec.replicas, status.ready_replicas
    override = overrides.active(agent, write.now)
    if wanted == 0 and status.replicas == 0:
        return write.put(status, "Ready", False, "ScaledToZero", "spec.replicas is 0", phase="Pending")
    if status.stable is None and override is None:
        return write.put(status, "Ready", False, "NoPolicy", "no version has passed its checks yet", phase="Pending")
    if override and override.mode == "Stop":
        return write.put(status, "Ready", False, "Stopped", "spec.override: no decision is given", phase="Overridden")
    if ready == 0:
        problem = next((p.problem for p in observed.pods if p.problem), None)
        reason, message = problem or ("NoReplicaReady", f"0 of {wanted} replicas are ready")
        return write.put(status, "Ready", False, reason, message, phase="Degraded")
    if override:
        message = f"spec.override ({override.mode}) decides on {ready} of {wanted} replicas"
        return write.put(status, "Ready", True, "Overridden", message, phase="Overridden")
    assert status.stable is not None
    phase = "Progressing" if status.candidate else "Healthy" if ready >= wanted else "Degraded"
    message = f"{status.stable.name} decides on {ready} of {wanted} replicas"
    return write.put(status, "Ready", True, "Deciding", message, phase=phase)
