"""Who may decide now: what a person says beats the rollout, and the fallback steps in where that cannot act.

Pure: the spec, the time and the policies in memory give an ordered list of those who may act.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from checkrein.agent.messages import Regime
from checkrein.agent.policies import Policy
from checkrein.api.deployment import AgentDeploymentSpec, Override
from checkrein.shield.arrays import Array

Named = Callable[[str], Policy | None]


@dataclass(frozen=True, slots=True)
class Choice:
    """One who may act: a policy, or an action fixed beforehand."""

    regime: Regime
    policy: Policy | None = None
    action: Array | None = None


def active(spec: AgentDeploymentSpec, over: Callable[[float], bool]) -> Override | None:
    """The override, unless its time is over: whether it is at a moment, in seconds since the epoch, `over` says."""
    override = spec.override
    if override is None or (override.until is not None and over(override.until.timestamp())):
        return None
    return override


def choices(
    spec: AgentDeploymentSpec,
    override: Override | None,
    standing: Policy | None,
    named: Named,
    behind: Policy | None = None,
) -> tuple[Choice, ...]:
    """In this order, for as long as one cannot act; none of them: no decision.

    `standing` is whom the rollout puts in charge; it never acts under an override. `named` finds a policy in memory.
    `behind` is stable, where a candidate is in charge: it acts next, as the candidate's fallback.
    """
    first: tuple[Choice, ...] = ()
    match override.mode if override else None:
        case None:
            first = (Choice("Policy", standing),) if standing else ()
            first += (Choice("Fallback", behind),) if behind else ()
        case "Stop":
            return ()
        case "Pin":
            assert override is not None
            pinned = named(override.policy_version or "")
            first = (Choice("Pin", pinned),) if pinned else ()
        case "Action":
            assert override is not None
            first = (Choice("Action", action=_array(override.action)),)
    return (*first, *fallbacks(spec, named))


def fallbacks(spec: AgentDeploymentSpec, named: Named) -> tuple[Choice, ...]:
    """Who acts when nobody else may: the version first, then the action."""
    if spec.fallback is None:
        return ()
    version = named(spec.fallback.policy_version) if spec.fallback.policy_version else None
    out = [Choice("Fallback", policy=version)] if version else []
    if spec.fallback.action is not None:
        out.append(Choice("Fallback", action=_array(spec.fallback.action)))
    return tuple(out)


def limited(spec: AgentDeploymentSpec) -> tuple[Choice, ...]:
    """What those get who ask for more than they may: the fallback's action where the deployment says so."""
    if spec.limits.exceeded != "Fallback" or spec.fallback is None or spec.fallback.action is None:
        return ()
    return (Choice("Limit", action=_array(spec.fallback.action)),)


def _array(action: list[float] | None) -> Array:
    return np.asarray(action or (), dtype=np.float64)
