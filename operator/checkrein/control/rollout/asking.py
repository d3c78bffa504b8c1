"""From what spec.strategy asks to tests with numbers, or why a rollout may not even begin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from checkrein.api.deployment import AgentDeployment
from checkrein.api.digests import canonical_json, sha256
from checkrein.api.environment import RLEnvironment
from checkrein.api.gates import Gate
from checkrein.api.policy import PolicyVersion
from checkrein.api.strategy import Strategy
from checkrein.judge import asking as questions
from checkrein.judge.asking import Bounds
from checkrein.judge.question import refuse

REASON = "GateCannotBeShown"
Asked = questions.Asked[Gate]
"""One test of a gate of the spec."""


@dataclass(frozen=True)
class Refusal:
    """Why a rollout may not even begin."""

    reason: str
    message: str


@dataclass(frozen=True)
class Asking:
    """All tests of a rollout, in the spec's order, references behind their gates; and the digest they go by."""

    tests: tuple[Asked, ...] = ()
    digest: str = ""


def asking(
    agent: AgentDeployment,
    version: PolicyVersion,
    versions: Mapping[str, PolicyVersion],
    environments: Mapping[str, RLEnvironment],
    attempt: int,
) -> Asking | Refusal:
    """The tests of this try of a candidate, or why they cannot be asked."""
    strategy = agent.spec.strategy
    canary = strategy.canary if strategy else None
    if strategy is None or canary is None:
        return Asking(digest=_digest(strategy, None, None))
    bounds: Bounds | None = None
    if needs := next((g for g in canary.gates if questions.needs_bounds(g)), None):
        found = _bounds(version, environments, needs)
        if isinstance(found, Refusal):
            return found
        bounds = found
    constant = None
    if strategy.reference:
        known = _constant(strategy.reference, version, versions)
        if isinstance(known, Refusal):
            return known
        constant = known
    tests = questions.tests(canary.gates, canary.min_units, bounds, constant, attempt)
    for asked in tests:
        if asked.gate.metric != "offPolicy" and (why := refuse(asked.test)):
            return Refusal(REASON, f"spec.strategy.canary.gates[{asked.name}]: {why}")
    return Asking(tests, _digest(strategy, bounds, constant))


def _bounds(
    version: PolicyVersion, environments: Mapping[str, RLEnvironment], gate: Gate
) -> tuple[float, float] | Refusal:
    """Least and greatest return of the candidate's environment."""
    wanted, path = version.spec.environment, f"spec.strategy.canary.gates[{gate.name}]"
    environment = environments.get(wanted.name)
    if environment is None:
        return Refusal(
            "EnvironmentNotFound",
            f"{path}: needs spec.reward.bounds of RLEnvironment {wanted.name}, which is not in this namespace; "
            "create it again",
        )
    if environment.status.digest != wanted.digest:
        return Refusal(
            "EnvironmentChanged",
            f"{path}: RLEnvironment {wanted.name} is not the one that {version.metadata.name} was trained for "
            f"({wanted.digest}); create that one again",
        )
    if environment.spec.reward.bounds is None:
        return Refusal(
            REASON,
            f"{path}: RLEnvironment {wanted.name} has no spec.reward.bounds; set them, or give the gate a clip",
        )
    return float(environment.spec.reward.bounds.min), float(environment.spec.reward.bounds.max)


def _constant(name: str, version: PolicyVersion, versions: Mapping[str, PolicyVersion]) -> float | Refusal:
    """The reference's evaluated mean return."""
    reference = versions.get(name)
    if reference is None:
        return Refusal("ReferenceNotFound", f"spec.strategy.reference: no PolicyVersion {name!r} in this namespace")
    if reference.spec.evaluation.episodes == 0:
        return Refusal("ReferenceNotEvaluated", f"spec.strategy.reference: {name} was not evaluated; name one that was")
    if reference.spec.environment.digest != version.spec.environment.digest:
        return Refusal(
            "ReferenceNotComparable",
            f"spec.strategy.reference: {name} was evaluated on another environment than "
            f"{version.spec.environment.name}; name one that was evaluated on the same",
        )
    return float(reference.spec.evaluation.mean)


def _digest(strategy: Strategy | None, bounds: Bounds | None, constant: float | None) -> str:
    """Evidence belongs to one way of asking and of assigning: what else changes goes on."""
    if strategy is None or strategy.canary is None:
        return sha256(canonical_json([strategy.unit if strategy else ""]))
    canary = strategy.canary
    asked: list[Any] = [
        [gate.dump() for gate in canary.gates],
        canary.min_units,
        strategy.unit,
        strategy.window.total_seconds() if strategy.window else None,
        strategy.outcome_deadline.total_seconds(),
        bounds,
        constant,
    ]
    return sha256(canonical_json(asked))
