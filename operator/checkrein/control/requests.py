"""The questions that planners ask. Each is answered in `world.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from checkrein.api.evidence import Evidence, OffPolicyEstimate
from checkrein.api.meta import FileReference
from checkrein.api.policy import Artifact, KeptRecording, PolicyVersion
from checkrein.api.rollout import HistoryEntry
from checkrein.api.spaces import Interface
from checkrein.api.tasks import AgentReport, EvaluationResults, StoreLocation, TrainingProgress
from checkrein.control.children import JobView
from checkrein.control.plan import Request

# A reference as in metadata.ownerReferences, as sorted pairs, so that a request can be a dictionary's key.
Owner = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class ReadProgress(Request[TrainingProgress]):
    """How far is the trainer at this address?"""

    address: str


@dataclass(frozen=True)
class ReadAgent(Request[AgentReport]):
    """What has the replica at this address loaded, and who acts there?"""

    address: str


@dataclass(frozen=True)
class ReadJob(Request[JobView | None]):
    """The Job and its pod as they are now, by reads that no cache can answer; None where there is no such Job."""

    namespace: str
    name: str


@dataclass(frozen=True)
class ReadWarning(Request[str]):
    """What the newest Event of type Warning says about the object of this uid; empty where there is none."""

    namespace: str
    uid: str


@dataclass(frozen=True)
class EnsureSession(Request[str]):
    """A Secret of this name holds store credentials for these locations that are far from their expiry.

    An agent also writes to `decisions`, an evaluator also reads `policies`. The answer is the Secret's name.
    """

    namespace: str
    name: str
    role: str
    location: StoreLocation
    owner: Owner
    decisions: StoreLocation | None = None
    policies: StoreLocation | None = None


@dataclass(frozen=True)
class EnsureTokenKey(Request[str]):
    """A Secret of this name holds random keys, the newest not older than this. The answer is the Secret's name."""

    namespace: str
    name: str
    owner: Owner
    rotate_seconds: float


@dataclass(frozen=True)
class ReserveEvaluation(Request[int]):
    """How many evaluations of this policy and environment came before this owner's? Counts this one for good."""

    namespace: str
    policy: str
    environment_digest: str
    owner: str


@dataclass(frozen=True)
class ReadResults(Request[EvaluationResults]):
    """What the evaluator stored, verified by digest."""

    results: FileReference


@dataclass(frozen=True)
class PublishArtifact(Request[Artifact]):
    """Copy an attempt's verified artifact to where policies live for good."""

    manifest: FileReference


@dataclass(frozen=True)
class PublishRecording(Request[KeptRecording]):
    """Copy what an evaluator recorded to the same place."""

    recording: FileReference


@dataclass(frozen=True)
class ReserveVersion(Request[int]):
    """The policy's next number, never used before; the same owner gets its own again."""

    namespace: str
    policy: str
    owner: str


@dataclass(frozen=True)
class ReadVersion(Request[PolicyVersion | None]):
    """The PolicyVersion of this name, read anew; None where there is none."""

    namespace: str
    name: str


@dataclass(frozen=True)
class VerifyArtifact(Request[Interface]):
    """Are the bytes in the store what the digests say? The answer is the interface that the manifest names."""

    artifact: Artifact


@dataclass(frozen=True)
class PruneCheckpoints(Request[int]):
    """Keep the newest complete checkpoints below this prefix, delete the others; how many were deleted?

    `newest` is the step of the newest one: asking again makes sense only when it has moved.
    """

    prefix: str
    keep: int
    newest: int


@dataclass(frozen=True)
class DrawSeed(Request[str]):
    """A random seed for the assignment of this rollout, as it is published (`judge.assignment.is_keyed`)."""

    uid: str
    rollout: str


@dataclass(frozen=True)
class OpenSeed(Request[str]):
    """The seed that assigns: by a published one, and the assignment key in this Secret beside the token keys."""

    namespace: str
    name: str
    seed: str


@dataclass(frozen=True)
class ReadEvidence(Request[Evidence]):
    """What does the replica at this address know of the episodes after this position of its log?"""

    address: str
    after: int


@dataclass(frozen=True)
class ReadStoredEvidence(Request[Evidence]):
    """What does the stored log of a vanished replica say after this position? Told from its decision records.

    `slow`: the latencies that the gates ask for (`store.decisions.parts.slow_names`).
    """

    decisions: StoreLocation
    stream: str
    after: int
    slow: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadHistory(Request[tuple[HistoryEntry, ...]]):
    """Whoever acted or was refused under this deployment's name before, the oldest first."""

    namespace: str
    name: str


@dataclass(frozen=True)
class AppendHistory(Request[int]):
    """This entry is in the history. The answer is its number; the same entry gets its own again."""

    namespace: str
    name: str
    entry: HistoryEntry

    def __hash__(self) -> int:
        """An entry has lists, which have no hash of their own."""
        return hash((self.namespace, self.name, self.entry.event, self.entry.policy, self.entry.time))


@dataclass(frozen=True)
class EstimateOffPolicy(Request[OffPolicyEstimate]):
    """What would the candidate's mean return be, by the stored log of the deployment since then (Unix time)?

    `lower` and `upper` of the answer are of candidate minus `factor` times stable, each right with alpha / 2.
    """

    decisions: StoreLocation
    candidate: str
    since: float
    low: float
    high: float
    alpha: float
    factor: float = 1.0
