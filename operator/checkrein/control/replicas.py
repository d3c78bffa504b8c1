"""What the replicas say of themselves, as conditions: is the log durable, the reserve loaded, the spec honoured?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from checkrein.api import conditions
from checkrein.api.deployment import AgentDeployment, AgentDeploymentStatus, PolicyPointer
from checkrein.api.policy import PolicyVersion
from checkrein.api.tasks import AgentReport, LoadedPolicy
from checkrein.control import overrides
from checkrein.control.children import PodView
from checkrein.control.conditions import Writer
from checkrein.control.plan import Answers, Unavailable
from checkrein.control.requests import ReadAgent

LOGGING, FALLBACK, PIN, HONOURED = "Logging", "FallbackReady", "PinReady", "SpecHonoured"
Reports = Mapping[str, AgentReport | Unavailable]


def running(pods: Sequence[PodView]) -> list[PodView]:
    """Those that may be asked."""
    return [p for p in pods if p.running and p.address and not p.deleting]


def heard(pods: Sequence[PodView], answers: Answers) -> Reports:
    """What each running replica answered, by the pod's name. Raises Unanswered."""
    asked = {p.name: ReadAgent(p.address) for p in running(pods)}
    said = answers.ask_all(tuple(asked.values()))
    return {name: said[request] for name, request in asked.items()}


def loaded(report: AgentReport | Unavailable, digest: str) -> LoadedPolicy | None:
    """What this replica says of a policy: by digest, since a name can be taken twice."""
    if isinstance(report, Unavailable):
        return None
    return next((p for p in report.policies if p.digest == digest), None)


def fallen_back(pods: Sequence[PodView], reports: Reports, stable: PolicyPointer | None) -> Sequence[tuple[str, str]]:
    """Ready replicas at which the fallback decides in the stable version's place, by name, and why."""
    if stable is None:
        return ()
    said = [(p.name, reports.get(p.name)) for p in pods if p.ready and not p.deleting]
    spoken = [(name, report) for name, report in said if isinstance(report, AgentReport)]
    return [(name, _lacking(stable, r)) for name, r in spoken if r.regime == "Fallback" and not r.overridden]


def _lacking(stable: PolicyPointer, report: AgentReport) -> str:
    load = loaded(report, stable.artifact.digest)
    return f"{load.reason}: {load.message}" if load and load.reason else f"{stable.name} is not loaded yet"


def logging(status: AgentDeploymentStatus, reports: Reports, write: Writer) -> AgentDeploymentStatus:
    """Logging: what is decided becomes durable. Where no replica has said anything, what was known stays."""
    spoken = {name: r for name, r in reports.items() if isinstance(r, AgentReport)}
    failing = sorted((name, r.logging_reason) for name, r in spoken.items() if not r.logging)
    if failing:
        name, why = failing[0]
        more = f", likewise at {len(failing) - 1} more" if len(failing) > 1 else ""
        message = f"{name}: {why or 'its log is not durable'}{more}; no action is explored there until it is again"
        return write.put(status, LOGGING, False, "LogNotDurable", message)
    if not spoken:
        return status
    message = "every replica that answers keeps its decisions"
    if waiting := sorted((name, r.storing_reason) for name, r in spoken.items() if not r.storing):
        name, why = waiting[0]
        message += f"; {name} keeps them on its disk until the store takes them{': ' * bool(why)}{why}"
    return write.put(status, LOGGING, True, "Durable", message)


def honoured(status: AgentDeploymentStatus, reports: Reports, write: Writer) -> AgentDeploymentStatus:
    """SpecHonoured: rules and exploration that a replica cannot carry out. Not there where that never happened."""
    spoken = {name: r for name, r in reports.items() if isinstance(r, AgentReport)}
    found = [f"{name}: {problem}" for name, report in sorted(spoken.items()) for problem in report.problems]
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        return write.put(status, HONOURED, False, "NotHonoured", f"{found[0]}{more}")
    if spoken and conditions.get(status.conditions, HONOURED) is not None:
        return write.put(status, HONOURED, True, "Honoured", "every replica that answers does what the spec says")
    return status


def standby(
    agent: AgentDeployment,
    status: AgentDeploymentStatus,
    versions: Mapping[str, PolicyVersion],
    reports: Reports,
    write: Writer,
) -> AgentDeploymentStatus:
    """FallbackReady and PinReady: those who may have to act at once are loaded. Each is there with its field only."""
    fallback, override = agent.spec.fallback, overrides.active(agent, write.now)
    for type_, path, name in (
        (FALLBACK, "spec.fallback.policyVersion", fallback.policy_version if fallback else None),
        (PIN, "spec.override.policyVersion", override.policy_version if override else None),
    ):
        if name is None:
            kept = [c for c in status.conditions if c.type != type_]
            status = status.model_copy(update={"conditions": kept})
        else:
            ready, reason, message = _standing(name, status, versions, reports)
            status = write.put(status, type_, ready, reason, f"{path}: {message}")
    return status


def is_loading(status: AgentDeploymentStatus) -> bool:
    """Whether a policy in reserve is about to be ready."""
    found = (conditions.get(status.conditions, type_) for type_ in (FALLBACK, PIN))
    return any(c is not None and c.reason == "Loading" for c in found)


def _standing(
    name: str, status: AgentDeploymentStatus, versions: Mapping[str, PolicyVersion], reports: Reports
) -> tuple[bool, str, str]:
    """Whether every replica could act by this version now: with reason and sentence."""
    version = versions.get(name)
    if version is None:
        return False, "PolicyVersionNotFound", f"no PolicyVersion {name!r} in this namespace; name one that exists"
    if not conditions.is_true(version.status.conditions, "Verified"):
        return False, "PolicyNotVerified", f"PolicyVersion {name} is not verified"
    if status.stable and status.stable.interface != version.spec.interface:
        return False, "InterfaceMismatch", f"PolicyVersion {name} has other spaces than {status.stable.name}"
    if not reports:
        return False, "NoReplicaRuns", f"no replica runs that could load {name}"
    loads = {pod: loaded(report, version.spec.artifact.digest) for pod, report in reports.items()}
    for pod, load in sorted(loads.items()):
        if load and not load.ready and load.reason:
            return False, load.reason, f"{pod}: {name}: {load.message}"
    ready = sum(bool(load and load.ready) for load in loads.values())
    message = f"{name} is loaded and warmed up on {ready} of {len(loads)} running replicas"
    return ready == len(loads), "Loaded" if ready == len(loads) else "Loading", message
