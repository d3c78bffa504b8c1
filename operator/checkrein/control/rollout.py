"""Plan for an AgentDeployment: keep the replicas, and let a version act only after its checks.

A version that is asked for becomes the candidate: verified, with the interface that callers know. Every replica
loads it beside the stable one and makes warm-up decisions; when all that run have done so, one status write makes
it stable. Nothing else changes who acts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from checkrein.api import conditions, names
from checkrein.api.deployment import AgentDeployment, AgentDeploymentStatus, PolicyPointer, Rejection
from checkrein.api.policy import PolicyVersion
from checkrein.api.tasks import AgentReport, LoadedPolicy
from checkrein.control.children import PodView
from checkrein.control.conditions import Writer
from checkrein.control.plan import Answers, Manifest, Plan, Unavailable
from checkrein.control.requests import EnsureSession, EnsureTokenKey, ReadAgent
from checkrein.control.settings import Settings
from checkrein.control.workloads import agents
from checkrein.control.workloads.pods import owner_reference

LOOK_SOON = timedelta(milliseconds=250)
STORE_RETRY = timedelta(seconds=5)
SESSION_CHECK = timedelta(hours=1)
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
    """What to do next. Asks for Secrets, and while a candidate is checked, for what each replica has loaded."""
    write = Writer(agent.metadata, now)
    status = _counted(agent, observed)
    try:
        _secrets(agent, observed, answers)
    except Unavailable as no:
        status = _readiness(write.put(status, "Progressing", False, no.reason, no.message), agent, observed, write)
        return Plan(status=status, after=STORE_RETRY)
    status = _advance(agent, status, observed, answers, write)
    status = _readiness(status, agent, observed, write)
    return Plan(
        status=status,
        apply=_changed(agents.objects(agent, observed.settings, observed.cluster), observed),
        after=LOOK_SOON if status.candidate else SESSION_CHECK,
    )


def _secrets(agent: AgentDeployment, observed: Observed, answers: Answers) -> None:
    """The replicas' store session and the key of their tokens exist. Raises Unanswered, Unavailable."""
    owner = tuple(sorted(owner_reference(agents.KIND, agent.metadata).items()))
    namespace, name = agent.metadata.namespace, agent.metadata.name
    location = agents.policies_location(observed.settings)
    answers.ask(EnsureTokenKey(namespace=namespace, name=names.token_key(name), owner=owner))
    secret = names.credentials(names.agent(name))
    answers.ask(EnsureSession(namespace=namespace, name=secret, role="agent", location=location, owner=owner))


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
    agent: AgentDeployment, status: AgentDeploymentStatus, observed: Observed, answers: Answers, write: Writer
) -> AgentDeploymentStatus:
    """One step from stable towards the version that is wanted."""
    wanted = agent.spec.policy_version
    if status.stable and status.stable.name == wanted:
        message = f"PolicyVersion {wanted} decides"
        return write.put(status, "Progressing", False, "Complete", message, candidate=None)
    if refusal := _refuse(agent, status, observed):
        return write.put(status, "Progressing", False, *refusal, candidate=None)
    version = observed.versions[wanted]
    candidate = PolicyPointer(name=wanted, artifact=version.spec.artifact, interface=version.spec.interface)
    status = status.model_copy(update={"candidate": candidate})
    return _check(agent, status, candidate, observed, answers, write)


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
    observed: Observed,
    answers: Answers,
    write: Writer,
) -> AgentDeploymentStatus:
    """Ask every running replica whether it has loaded and warmed up the candidate."""
    running = tuple(ReadAgent(p.address) for p in observed.pods if p.running and p.address and not p.deleting)
    said = answers.ask_all(running)
    loads = [_loaded(report, candidate) for report in said.values()]
    for load in loads:
        if load and not load.ready and load.permanent:
            return _reject(agent, status, load, write)
    if loads and all(load and load.ready for load in loads):
        return _promote(status, candidate, write)
    ready = sum(bool(load and load.ready) for load in loads)
    trouble = next((f"; {load.reason}: {load.message}" for load in loads if load and load.reason), "")
    message = f"{candidate.name} is loaded and warmed up on {ready} of {len(loads)} running replicas{trouble}"
    return write.put(status, "Progressing", True, "Loading", message)


def _loaded(report: AgentReport | Unavailable, candidate: PolicyPointer) -> LoadedPolicy | None:
    """What this replica says of the candidate: by digest, since a name can be taken twice."""
    if isinstance(report, Unavailable):
        return None
    return next((p for p in report.policies if p.digest == candidate.artifact.digest), None)


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
    """Ready: a verified policy decides on at least one replica, whatever the rollout does."""
    wanted, ready = agent.spec.replicas, status.ready_replicas
    if wanted == 0 and status.replicas == 0:
        return write.put(status, "Ready", False, "ScaledToZero", "spec.replicas is 0", phase="Pending")
    if status.stable is None:
        return write.put(status, "Ready", False, "NoPolicy", "no version has passed its checks yet", phase="Pending")
    problem = next((p.problem for p in observed.pods if p.problem), None)
    if ready == 0:
        reason, message = problem or ("NoReplicaReady", f"0 of {wanted} replicas are ready")
        return write.put(status, "Ready", False, reason, message, phase="Degraded")
    phase = "Progressing" if status.candidate else "Healthy" if ready >= wanted else "Degraded"
    message = f"{status.stable.name} decides on {ready} of {wanted} replicas"
    return write.put(status, "Ready", True, "Deciding", message, phase=phase)
