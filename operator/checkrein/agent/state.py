"""What a replica knows: the last accepted word about its AgentDeployment, and the policies in memory.

Everything runs on the event loop's thread; the network and the store only hand results in.

Who decides. The stable pointer of the last accepted word acts, from the moment it is loaded; until then the one
before goes on. An episode stays with the policy it started with while that is in memory (only an abort or an
override may change hands inside an episode, and this release has neither), so a switch and a rollback alike reach
new episodes at once and running ones when they end. Two former stable policies are kept for running episodes; an
episode of one that is gone goes on under the stable policy, and its token says so from then on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from checkrein.agent.policies import Policy, key
from checkrein.api.deployment import AgentDeployment, PolicyPointer
from checkrein.api.tasks import AgentReport, LoadedPolicy

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
    _former: list[str] = field(default_factory=list)

    @property
    def uid(self) -> str:
        """Of the deployment; empty before the first word."""
        return self.word.metadata.uid if self.word else ""

    @property
    def ready(self) -> bool:
        """Whether a decision can be taken, and callers should come here."""
        return self.acting is not None and not self.draining

    def wanted(self) -> dict[str, PolicyPointer]:
        """What should be in memory by the last word, the stable policy first."""
        if self.word is None:
            return {}
        pointers = (self.word.status.stable, self.word.status.candidate)
        return {key(pointer): pointer for pointer in pointers if pointer is not None}

    def accept(self, word: AgentDeployment) -> bool:
        """Take in a word about the deployment; False where it is older than the one at hand."""
        if not newer(self.word, word):
            return False
        if self.word is None or word.metadata.generation != self.word.metadata.generation:
            self.failures.clear()  # a person changed something: what failed deserves another try
        self.word = word
        self._settle()
        return True

    def add(self, policy: Policy) -> None:
        """A policy has been loaded."""
        self.loaded[policy.key] = policy
        self.failures.pop(policy.key, None)
        self._settle()

    def fail(self, pointer: PolicyPointer, reason: str, message: str, *, permanent: bool) -> None:
        """A policy could not be loaded."""
        self.failures[key(pointer)] = LoadedPolicy(
            name=pointer.name,
            digest=pointer.artifact.digest,
            ready=False,
            reason=reason,
            message=message,
            permanent=permanent,
        )

    def policy_for(self, policy_key: str) -> Policy | None:
        """Who decides the next step of an episode: the policy it stands with, else the one that acts now."""
        return self.loaded.get(policy_key, self.acting)

    def report(self) -> AgentReport:
        """For the operator."""
        return AgentReport(
            epoch=self.acting_epoch,
            generation=self.word.metadata.generation if self.word else 0,
            acting=self.acting.name if self.acting else None,
            policies=[self._report(k, pointer) for k, pointer in self.wanted().items()],
        )

    def _report(self, policy_key: str, pointer: PolicyPointer) -> LoadedPolicy:
        if policy := self.loaded.get(policy_key):
            return policy.report()
        loading = LoadedPolicy(name=pointer.name, digest=pointer.artifact.digest, ready=False, reason="Loading")
        return self.failures.get(policy_key, loading)

    def _settle(self) -> None:
        """Let the stable policy act if it is here, and forget what nobody needs."""
        stable = self.word.status.stable if self.word else None
        if self.word and stable and (policy := self.loaded.get(key(stable))):
            if self.acting and self.acting.key != policy.key:
                self._former = [k for k in self._former if k != policy.key] + [self.acting.key]
            self.acting, self.acting_epoch = policy, self.word.status.epoch
        self._former = self._former[-FORMER_KEPT:]
        needed = {*self.wanted(), *self._former, *([self.acting.key] if self.acting else [])}
        self.loaded = {k: policy for k, policy in self.loaded.items() if k in needed}
        self.failures = {k: failure for k, failure in self.failures.items() if k in self.wanted()}
