"""What one pass of the planner sees and says, handed from step to step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from checkrein.api import names
from checkrein.api.deployment import AgentDeployment, AgentDeploymentSpec, AgentDeploymentStatus, Override
from checkrein.api.environment import RLEnvironment
from checkrein.api.policy import PolicyVersion
from checkrein.api.rollout import RolloutStatus
from checkrein.api.strategy import Strategy
from checkrein.control import overrides, policy, replicas
from checkrein.control.children import PodView
from checkrein.control.conditions import Writer
from checkrein.control.plan import Answers
from checkrein.control.requests import OpenSeed
from checkrein.control.settings import Settings
from checkrein.judge.assignment import is_keyed

PROGRESSING = "Progressing"


@dataclass(frozen=True)
class Observed:
    """What the planner sees beside the object itself. `children` are keyed by (kind, name).

    `versions` are those of `names_observed`, `environments` those that the versions name, as far as they exist.
    """

    versions: Mapping[str, PolicyVersion]
    children: Mapping[tuple[str, str], Mapping[str, Any]]
    pods: Sequence[PodView]
    settings: Settings
    cluster: str
    environments: Mapping[str, RLEnvironment] = field(default_factory=dict)


def names_observed(agent: AgentDeployment) -> frozenset[str]:
    """PolicyVersions that the planner wants to see: those that a person names, and whoever acted before."""
    strategy, status = agent.spec.strategy, agent.status
    reference = {strategy.reference} if strategy and strategy.reference else set()
    watched = strategy is not None and strategy.watch is not None
    before = {e.since for e in status.history if e.since} if watched else set()
    acts = {status.stable.name} if watched and status.stable else set()
    return policy.names_wanted(agent.spec) | reference | before | acts


@dataclass(frozen=True)
class Scene:
    """One pass."""

    agent: AgentDeployment
    observed: Observed
    answers: Answers
    reports: replicas.Reports
    write: Writer

    @property
    def now(self) -> datetime:
        return self.write.now

    @property
    def spec(self) -> AgentDeploymentSpec:
        return self.agent.spec

    @property
    def wanted(self) -> str:
        """The version that a person asks for."""
        return self.agent.spec.policy_version

    @property
    def strategy(self) -> Strategy | None:
        """How a version earns its place; None where its own checks are enough."""
        strategy = self.agent.spec.strategy
        return strategy if strategy and (strategy.shadow or strategy.canary) else None

    @property
    def override(self) -> Override | None:
        """The override that holds now."""
        return overrides.active(self.agent, self.now)

    def seed(self, rollout: RolloutStatus) -> str:
        """The seed that tells arms. The published one alone does not. Raises Unanswered, Unavailable."""
        if not is_keyed(rollout.seed):
            return rollout.seed  # of a rollout that began before seeds were keyed
        meta = self.agent.metadata
        return self.answers.ask(OpenSeed(meta.namespace, names.token_key(meta.name), rollout.seed))

    def say(
        self, status: AgentDeploymentStatus, value: bool, reason: str, message: str, **fields: Any
    ) -> AgentDeploymentStatus:
        """The status with condition Progressing and these fields."""
        return self.write.put(status, PROGRESSING, value, reason, message, **fields)


def kept(status: AgentDeploymentStatus) -> str:
    """Who goes on meanwhile, as the end of a sentence."""
    return f"; {status.stable.name} goes on deciding" if status.stable else ""


def updated(status: AgentDeploymentStatus, **fields: Any) -> AgentDeploymentStatus:
    """The status with these fields."""
    return status.model_copy(update=fields)
