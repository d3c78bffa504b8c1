"""Plan for a PolicyVersion: are its bytes what the digests say, and who uses it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from checkrein.api.deployment import AgentDeployment, AgentDeploymentSpec
from checkrein.api.policy import PolicyVersion, PolicyVersionStatus
from checkrein.control.conditions import Writer
from checkrein.control.plan import Answers, Plan, Unavailable
from checkrein.control.requests import VerifyArtifact
from checkrein.control.settings import Settings

STORE_RETRY = timedelta(seconds=10)
USED_BY_LIMIT = 64
ACTING = ("Promoted", "RolledBack")


@dataclass(frozen=True)
class Observed:
    """What the planner sees beside the object itself."""

    deployments: Sequence[AgentDeployment]
    settings: Settings


def plan(version: PolicyVersion, observed: Observed, answers: Answers, now: datetime) -> Plan:
    """Verify again and again: bytes can rot, and a store can be swapped."""
    write = Writer(version.metadata, now)
    used_by = users(version.metadata.name, observed.deployments)
    every = timedelta(seconds=observed.settings.verify_seconds)
    try:
        interface = answers.ask(VerifyArtifact(version.spec.artifact))
    except Unavailable as no:
        if no.temporary:
            return Plan(status=_unknown(version, used_by, no, write), after=STORE_RETRY)
        status = write.put(version.status, "Verified", False, no.reason, no.message, phase="Rejected", used_by=used_by)
        return Plan(status=status, after=every)
    if interface != version.spec.interface:
        message = "spec.interface: the artifact's manifest names other spaces"
        status = write.put(
            version.status, "Verified", False, "InterfaceMismatch", message, phase="Rejected", used_by=used_by
        )
        return Plan(status=status, after=every)
    message = f"manifest and files match {version.spec.artifact.digest}"
    status = write.put(version.status, "Verified", True, "Verified", message, phase="Verified", used_by=used_by)
    return Plan(status=status, after=every)


def _unknown(version: PolicyVersion, used_by: list[str], no: Unavailable, write: Writer) -> PolicyVersionStatus:
    """Nothing is known against the bytes, but nobody starts to use what cannot be read; who decides goes on."""
    return write.put(version.status, "Verified", None, no.reason, no.message, phase="Pending", used_by=used_by)


def users(name: str, deployments: Sequence[AgentDeployment]) -> list[str]:
    """Who wants, runs, checks this version, or keeps it in reserve."""
    return sorted(user(d) for d in deployments if name in names_used(d))[:USED_BY_LIMIT]


def user(deployment: AgentDeployment) -> str:
    """How status.usedBy names an AgentDeployment."""
    return f"agentdeployment/{deployment.metadata.name}"


def names_wanted(spec: AgentDeploymentSpec) -> frozenset[str]:
    """PolicyVersions that a person names. An override that has ended still does: it may be set again."""
    fallback, override, strategy = spec.fallback, spec.override, spec.strategy
    reserve = (
        fallback and fallback.policy_version,
        override and override.policy_version,
        strategy and strategy.reference,
    )
    return frozenset({spec.policy_version, *(name for name in reserve if name)})


def names_used(deployment: AgentDeployment) -> frozenset[str]:
    """PolicyVersions that an AgentDeployment refers to, or may bring back by itself."""
    pointers = (deployment.status.stable, deployment.status.candidate)
    before = name_before(deployment)
    return names_wanted(deployment.spec) | {p.name for p in pointers if p} | ({before} if before else set())


def name_before(deployment: AgentDeployment) -> str | None:
    """Whom a breach would make stable again, where spec.strategy.watch.onBreach says so."""
    strategy, stable = deployment.spec.strategy, deployment.status.stable
    if not (stable and strategy and strategy.watch and strategy.watch.on_breach == "Rollback"):
        return None
    entry = next((e for e in reversed(deployment.status.history) if e.event in ACTING), None)
    return entry.since if entry and entry.policy == stable.name else None
