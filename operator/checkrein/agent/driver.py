"""A policy with what surrounds it: how it acts, how it explores, and the rules that its actions must keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from checkrein.agent.exploration import Actor, actor, require_allowed
from checkrein.agent.kernel import Outputs
from checkrein.agent.policies import Policy
from checkrein.api.deployment import AgentDeploymentSpec
from checkrein.api.spaces import Interface
from checkrein.shield.arrays import Array, samples
from checkrein.shield.guard import Guard, ShieldError


@dataclass(frozen=True, slots=True)
class Driver:
    """A policy that is fit to act here."""

    policy: Policy
    greedy: Actor
    explorer: Actor
    guard: Guard

    @property
    def explores(self) -> bool:
        """Whether it may do something else than its policy says."""
        return self.explorer is not self.greedy


@dataclass
class Drivers:
    """One driver for each policy in memory, made anew when the spec changes.

    Rules that cannot be understood change nothing: those at hand stay in force, and without any the policy may not act.
    """

    problems: dict[str, str] = field(default_factory=dict)
    _by_key: dict[str, Driver] = field(default_factory=dict)
    _bare: Guard | None = None
    _features: Sequence[str] = ()  # of the last policy: they belong to the interface, which does not change
    _spec: AgentDeploymentSpec | None = None

    def settle(self, policies: Mapping[str, Policy], spec: AgentDeploymentSpec, interface: Interface | None) -> None:
        """Make those that are missing, all of them where the spec has changed, and forget the others."""
        changed = spec != self._spec
        if changed:
            self._spec, self.problems = spec, {}
        former, self._by_key = self._by_key, {}
        for key, policy in policies.items():
            made = former.get(key)
            if made is None or changed:
                made = self._make(policy, spec, made)
            if made is not None:
                self._by_key[key] = made
        if interface is not None and (changed or self._bare is None):
            self._bare = self._guard("actions fixed beforehand", spec, interface, None) or self._bare

    def get(self, key: str) -> Driver | None:
        """The driver of the policy with this key; None where it has no rules to act by."""
        return self._by_key.get(key)

    def guard(self, key: str | None) -> Guard | None:
        """Rules for an action that no policy chose: those of this policy's environment where it is at hand."""
        driver = self._by_key.get(key) if key else None
        return driver.guard if driver else self._bare

    def failures(self) -> dict[str, int]:
        """By rule: how often an expression of it could not be evaluated, so that it counted as broken."""
        guards = [driver.guard for driver in self._by_key.values()] + ([self._bare] if self._bare else [])
        return dict(sum((guard.errors for guard in guards), Counter()))

    def _make(self, policy: Policy, spec: AgentDeploymentSpec, former: Driver | None) -> Driver | None:
        guard = self._guard(policy.name, spec, policy.interface, policy)
        if guard is None:
            return former
        self._features = policy.features
        try:
            greedy = explorer = actor(policy.interface.action, policy.acting, None, _example(policy))
        except ValueError as error:
            self.problems[policy.name] = str(error)
            return None
        if spec.exploration is not None:
            try:
                require_allowed(spec.exploration, policy.interface.observation)
                explorer = actor(policy.interface.action, policy.acting, spec.exploration, _example(policy))
            except ValueError as error:
                self.problems[f"{policy.name}, spec.exploration"] = f"{error}; it does not explore"
        return Driver(policy, greedy, explorer, guard)

    def _guard(
        self, whose: str, spec: AgentDeploymentSpec, interface: Interface, policy: Policy | None
    ) -> Guard | None:
        rules = [*(policy.shield if policy else ()), *spec.shield]
        try:
            return Guard(rules, interface, policy.features if policy else self._features, _action(spec))
        except ShieldError as error:
            self.problems[f"{whose}, spec.shield"] = str(error)
            return None


def _example(policy: Policy) -> Outputs:
    """What its network says of the middle of the observation space."""
    return policy.infer(samples(policy.interface.observation, 0, seed=0)[2])


def _action(spec: AgentDeploymentSpec) -> Array | None:
    action = spec.fallback.action if spec.fallback else None
    return None if action is None else np.asarray(action, dtype=np.float64)
