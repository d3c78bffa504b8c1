"""What a replica knows: the last accepted word about its AgentDeployment, and the policies in memory.

Everything runs on the event loop's thread; the network and the store only hand results in.

Who decides. The stable pointer of the last accepted word stands, from the moment it is loaded; until then the one
before goes on. An episode stays with the policy it started with while that is in memory, so a switch and a rollback
alike reach new episodes at once and running ones when they end. An override takes hold at once, in running episodes
too, and they go back to their policy when it ends. Two former stable policies are kept for running episodes; an episode
of one that is gone goes on under the stable policy, and its token says so from then on.

An episode of the candidate stays with it as long as the rollout that assigned it goes on, and after a promotion: then
the candidate is stable. Once the rollout has ended in another way, it goes on under stable at its next step. Where the
candidate cannot act, stable does, and only then the fallback.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from checkrein.agent import regime
from checkrein.agent.clock import End
from checkrein.agent.driver import Driver, Drivers
from checkrein.agent.episodes import Episode
from checkrein.agent.policies import LoadError, Policy, key
from checkrein.agent.regime import Choice
from checkrein.agent.subgroups import Subgroups
from checkrein.api.deployment import AgentDeployment, Override, PolicyPointer
from checkrein.api.spaces import Interface
from checkrein.api.tasks import LoadedPolicy
from checkrein.shield.guard import Guard
from checkrein.store.decisions.parts import rollout_of

FORMER_KEPT = 2


def newer(current: AgentDeployment | None, incoming: AgentDeployment) -> bool:
    """Whether `incoming` replaces `current`: an API server that lags must not undo a decision.

    Of one object neither generation nor epoch may fall. Of two objects with the same name the later created counts.
    """
    if current is None:
        return True
    old, new = current.metadata, incoming.metadata
    if old.uid != new.uid:
        if old.creation_timestamp is None or new.creation_timestamp is None:
            return True
        return new.creation_timestamp >= old.creation_timestamp
    return new.generation >= old.generation and incoming.status.epoch >= current.status.epoch


@dataclass
class State:
    """One replica's knowledge. `word` changes by `accept`, the policies by `add` and `fail`."""

    word: AgentDeployment | None = None
    acting: Policy | None = None
    acting_epoch: int = 0
    draining: bool = False
    loaded: dict[str, Policy] = field(default_factory=dict)
    failures: dict[str, LoadedPolicy] = field(default_factory=dict)
    drivers: Drivers = field(default_factory=Drivers)
    subgroups: Subgroups = field(default_factory=Subgroups)
    _end: End = field(default_factory=End)  # the override's
    _former: list[str] = field(default_factory=list)
    _resolved: dict[str, PolicyPointer] = field(default_factory=dict)
    # The last answers for one override, until something changes: by whom the rollout puts in charge and behind him.
    _choices: dict[tuple[str, str], tuple[Choice, ...]] = field(default_factory=dict)
    _choices_under: Override | None = None
    _rollout: tuple[str, str] = ("", "")  # id, and key of its candidate
    _promoted: list[tuple[str, str]] = field(default_factory=list)  # rollouts whose candidate became stable

    @property
    def uid(self) -> str:
        """Of the deployment; empty before the first word."""
        return self.word.metadata.uid if self.word else ""

    @property
    def interface(self) -> Interface | None:
        """What callers send and get: that of who acts, or of who is to act."""
        if self.acting:
            return self.acting.interface
        stable = self.word.status.stable if self.word else None
        return stable.interface if stable else None

    @property
    def ready(self) -> bool:
        """Whether callers should come here: a decision can be taken, or a person has forbidden it."""
        if self.draining or self.word is None or self.interface is None:
            return False
        override = self.override()
        if override and override.mode == "Stop":
            return True
        loading = self.acting is None and not override and not self._stable_failed()
        return not loading and bool(self.choices(override, self.acting))

    # --- who may decide

    def override(self) -> Override | None:
        """What a person says now."""
        return regime.active(self.word.spec, self._end.over) if self.word else None

    def standing(self, policy_key: str) -> Policy | None:
        """Whom the rollout puts in charge of an episode: the policy it stands with, else the one that acts now."""
        return self.loaded.get(policy_key, self.acting)

    def of_candidate(self, episode: Episode) -> tuple[Policy | None, str, Policy | None]:
        """As `standing`, of an episode that was assigned to a candidate: the policy if it is at hand, the key that the
        episode stands with, and who acts where that policy cannot.
        """
        acting, assigned = self.acting, (rollout_of(episode.unit), episode.policy)
        if assigned == self._rollout:
            return self.loaded.get(episode.policy), episode.policy, acting
        if assigned in self._promoted and episode.policy in self.loaded:
            return self.loaded[episode.policy], episode.policy, acting
        return acting, acting.key if acting else "", None

    def choices(
        self, override: Override | None, standing: Policy | None, behind: Policy | None = None
    ) -> tuple[Choice, ...]:
        """Who may take the next decision, in order."""
        if self.word is None:
            return ()
        if override is not self._choices_under:
            self._choices, self._choices_under = {}, override
        known = (standing.key if standing else "", behind.key if behind else "")
        found = self._choices.get(known)
        if found is None:
            found = regime.choices(self.word.spec, override, standing, self._named, behind)
            self._choices[known] = found
        return found

    def limited(self) -> tuple[Choice, ...]:
        """Who answers those who ask for more than they may."""
        return regime.limited(self.word.spec) if self.word else ()

    def driver(self, policy: Policy) -> Driver | None:
        """The policy with what surrounds it."""
        return self.drivers.get(policy.key)

    def problems(self) -> dict[str, str]:
        """What of the spec cannot be carried out here, by field."""
        return self.drivers.problems | self.subgroups.problems

    def guard(self) -> Guard | None:
        """Rules for an action that no policy chose."""
        return self.drivers.guard(self.acting.key if self.acting else None)

    def looks_back(self, standing: Policy | None) -> bool:
        """Whether rules look at the action before, so that it must travel with the episode."""
        guard = self.guard()
        if guard is None or guard.needs_previous:
            return True
        if standing is None or standing is self.acting:
            return False
        driver = self.drivers.get(standing.key)
        return driver is not None and driver.guard.needs_previous

    # --- what should be in memory

    def wanted(self) -> dict[str, PolicyPointer]:
        """What should be in memory by the last word, the stable policy first."""
        if self.word is None:
            return {}
        resolved = [self._resolved.get(name) for name in self.names()]
        pointers = (self.word.status.stable, self.word.status.candidate, *resolved)
        return {key(pointer): pointer for pointer in pointers if pointer is not None}

    def names(self) -> tuple[str, ...]:
        """PolicyVersions that a person names as fallback or pins."""
        if self.word is None:
            return ()
        spec = self.word.spec
        named = (spec.fallback and spec.fallback.policy_version, spec.override and spec.override.policy_version)
        return tuple(dict.fromkeys(name for name in named if name))

    def unresolved(self) -> tuple[str, ...]:
        """Those of which nothing but the name is known."""
        return tuple(name for name in self.names() if self._pointer(name) is None)

    def resolve(self, pointer: PolicyPointer) -> None:
        """A name has been looked up."""
        self._choices = {}
        self._resolved[pointer.name] = pointer
        self.failures.pop(pointer.name, None)

    def accept(self, word: AgentDeployment) -> bool:
        """Take in a word about the deployment; False where it is older than the one at hand."""
        if not newer(self.word, word):
            return False
        if self.word is None or word.metadata.generation != self.word.metadata.generation:
            self.failures.clear()  # a person changed something: what failed deserves another try
            self._resolved.clear()
        self.word = word
        self._settle()
        return True

    def add(self, policy: Policy) -> None:
        """A policy has been loaded."""
        self.loaded[policy.key] = policy
        self.failures.pop(policy.key, None)
        self._settle()

    def fail(self, pointer: PolicyPointer, error: LoadError) -> None:
        """A policy could not be loaded."""
        self.failures[key(pointer)] = LoadedPolicy(
            name=pointer.name,
            digest=pointer.artifact.digest,
            ready=False,
            reason=error.reason,
            message=str(error),
            permanent=error.permanent,
        )

    def fail_name(self, name: str, error: LoadError) -> None:
        """A named version could not be looked up."""
        self.failures[name] = LoadedPolicy(name=name, ready=False, reason=error.reason, message=str(error))

    def reports(self) -> list[LoadedPolicy]:
        """What came of each policy that should be in memory; after them those that still are, ready to act again."""
        wanted = self.wanted()
        loads = [self._report(k, pointer) for k, pointer in wanted.items()]
        loads += [policy.report() for k, policy in self.loaded.items() if k not in wanted]
        return [*loads, *(self.failures[name] for name in self.unresolved() if name in self.failures)]

    def _report(self, policy_key: str, pointer: PolicyPointer) -> LoadedPolicy:
        if policy := self.loaded.get(policy_key):
            return policy.report()
        loading = LoadedPolicy(name=pointer.name, digest=pointer.artifact.digest, ready=False, reason="Loading")
        return self.failures.get(policy_key, loading)

    def _stable_failed(self) -> bool:
        stable = self.word.status.stable if self.word else None
        return stable is not None and key(stable) in self.failures

    def _named(self, name: str) -> Policy | None:
        pointer = self._pointer(name)
        return self.loaded.get(key(pointer)) if pointer else None

    def _pointer(self, name: str) -> PolicyPointer | None:
        """The status knows some by name; the others have been looked up."""
        assert self.word is not None, "names come from the word"
        known = (self.word.status.stable, self.word.status.candidate)
        return next((p for p in known if p and p.name == name), self._resolved.get(name))

    def _settle(self) -> None:
        """Let the stable policy act if it is here, and forget what nobody needs."""
        self._choices = {}
        stable = self.word.status.stable if self.word else None
        if self.word and stable and (policy := self.loaded.get(key(stable))):
            if self.acting and self.acting.key != policy.key:
                self._former = [k for k in self._former if k != policy.key] + [self.acting.key]
            self.acting, self.acting_epoch = policy, self.word.status.epoch
            if policy.key == self._rollout[1]:
                self._promoted = [*self._promoted, self._rollout][-FORMER_KEPT:]
        self._former = self._former[-FORMER_KEPT:]
        needed = {*self.wanted(), *self._former, *([self.acting.key] if self.acting else [])}
        self.loaded = {k: policy for k, policy in self.loaded.items() if k in needed}
        self.failures = {k: failure for k, failure in self.failures.items() if k in {*self.wanted(), *self.names()}}
        if self.word:
            status, acting = self.word.status, self.acting
            candidate, rollout = status.candidate, status.rollout
            self._rollout = (rollout.id, key(candidate)) if rollout and candidate else ("", "")
            self.drivers.settle(self.loaded, self.word.spec, self.interface)
            self.subgroups.settle(self.word.spec.strategy, self.interface, acting.features if acting else ())
