"""The store as the operator uses it: its buckets, opened once, and the sessions that it mints."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from checkrein.api.evidence import Evidence, OffPolicyEstimate
from checkrein.api.meta import FileReference
from checkrein.api.policy import Artifact, KeptRecording
from checkrein.api.rollout import HistoryEntry
from checkrein.api.spaces import Interface
from checkrein.api.tasks import EvaluationResults, StoreCredentials
from checkrein.control import metrics, offpolicy
from checkrein.control.plan import Unavailable
from checkrein.control.requests import (
    AppendHistory,
    EnsureSession,
    EstimateOffPolicy,
    PruneCheckpoints,
    ReadHistory,
    ReadStoredEvidence,
    ReserveEvaluation,
    ReserveVersion,
)
from checkrein.control.settings import Settings
from checkrein.store import artifacts, keys, recordings, reservations, sessions
from checkrein.store.client import Store, authorities_beside
from checkrein.store.credentials import from_file
from checkrein.store.decisions import layout, parts, tail
from checkrein.store.decisions.sources import StoreSource
from checkrein.store.history import History
from checkrein.store.observing import observed

RUN_SECONDS = 3600
# Replicas must be able to start again while the operator is away for a weekend.
AGENT_SECONDS = 7 * 24 * 3600
RESULTS_LIMIT = 64 * 2**20


def rights(request: EnsureSession) -> sessions.Policy:
    """What the session of a request may do. Raises ValueError on a prefix that would grant more."""
    if request.role == "agent":
        return sessions.agent_policy(request.location, request.decisions)
    return sessions.run_policy(request.location, request.policies)


class Stores:
    """Synchronous; call it from a thread. Raises StoreError, Unavailable."""

    def __init__(self, settings: Settings, cluster: str, credentials: Path) -> None:
        self._credentials: Callable[[], StoreCredentials] = from_file(credentials)
        self._cluster = cluster
        store = self._place = settings.store
        self._authorities = authorities_beside(store.location(store.runs_bucket), credentials)
        self.runs = self._store(store.runs_bucket)
        self.policies = self._store(store.policies_bucket)
        # A rollout asks these in its passes: a store that hangs must not keep an abort from being told.
        self.decisions = self._store(store.decisions_bucket, hurried=True)
        self._history = History(self._store(store.policies_bucket, hurried=True))

    def _store(self, bucket: str, *, hurried: bool = False) -> Store:
        location = self._place.location(bucket)
        return Store(location, self._credentials, self._authorities, hurried=hurried, observer=metrics.STORE.observe)

    @property
    def minter(self) -> str:
        """The user that sessions are minted by. Raises StoreUnavailable."""
        return self._credentials().access_key

    def mint(self, request: EnsureSession) -> StoreCredentials:
        """A session with the rights of the request's role."""
        seconds = {"run": RUN_SECONDS, "agent": AGENT_SECONDS}[request.role]
        with observed(metrics.STORE.observe, "mint"):
            return sessions.mint(request.location, self._credentials(), rights(request), seconds, self._authorities)

    def authorities(self) -> bytes:
        """Who vouches for the store's certificate, as PEM, as of now; empty: the system's. Raises Unavailable."""
        if self._authorities is None:
            return b""
        try:
            return self._authorities.read_bytes()
        except OSError as error:
            why = f"{self._authorities}: {error.strerror}; store.caBundle or store.caConfigMap of the chart brings it"
            raise Unavailable("StoreAuthorityMissing", why) from error

    def reserve_evaluation(self, request: ReserveEvaluation) -> int:
        """Evaluations that came before this one."""
        number = reservations.reserve_evaluation(
            self.policies,
            self._cluster,
            request.namespace,
            request.policy,
            request.environment_digest,
            request.owner,
        )
        return number - 1

    def reserve_version(self, request: ReserveVersion) -> int:
        """The policy's next number, or the one that this owner has."""
        return reservations.reserve_version(
            self.policies, self._cluster, request.namespace, request.policy, request.owner
        )

    def prune(self, request: PruneCheckpoints) -> int:
        """Delete all but the newest complete checkpoints of a job; the manifest first, so that none looks complete."""
        listed = [o.key for o in self.runs.list(request.prefix)]
        old = keys.checkpoints(listed)[request.keep :]
        for manifest in old:
            self.runs.delete(manifest)
            folder = manifest.removesuffix(keys.CHECKPOINT_MANIFEST)
            for key in listed:
                if key.startswith(folder) and key != manifest:
                    self.runs.delete(key)
        return len(old)

    def results(self, reference: FileReference) -> EvaluationResults:
        """What an evaluator stored."""
        data = self.runs.get(reference.key, digest=reference.digest, limit=RESULTS_LIMIT)
        return EvaluationResults.model_validate_json(data)

    def publish(self, manifest: FileReference) -> Artifact:
        """Copy an attempt's artifact to where policies live for good."""
        return artifacts.publish(self.runs, self.policies, manifest)

    def publish_recording(self, written: FileReference) -> KeptRecording:
        """Copy an evaluation's recording there, too."""
        return recordings.publish(self.runs, self.policies, written)

    def estimate_off_policy(self, request: EstimateOffPolicy) -> OffPolicyEstimate:
        """By the stored log of a deployment."""
        return offpolicy.answer(self.decisions, request)

    def verify(self, artifact: Artifact) -> Interface:
        """Read and check every byte; the interface that the manifest names."""
        return artifacts.load(self.policies, artifact).manifest.interface

    def history(self, request: ReadHistory) -> tuple[HistoryEntry, ...]:
        """Whoever acted or was refused under a deployment's name."""
        return self._history.read(self._cluster, request.namespace, request.name)

    def append_history(self, request: AppendHistory) -> int:
        """The entry's number."""
        return self._history.append(self._cluster, request.namespace, request.name, request.entry)

    def stored_evidence(self, request: ReadStoredEvidence) -> Evidence:
        """The parts that a stream's stored records tell of. Raises Unavailable where they do not follow each other."""
        stream, after = request.stream, request.after
        if layout.boot_of(stream) is None or "/" in stream:
            raise Unavailable("Malformed", f"{stream!r} is no stream's name", temporary=False)
        source = StoreSource(self.decisions, f"{request.decisions.write_prefix}{stream}/segments/")
        told = parts.Parts(parts.latencies(request.slow))
        upto = after
        try:
            for seq, record in tail.after(source, stream, after):
                upto = seq
                if record is not None:
                    told.add(seq, record)
        except (tail.SourceError, tail.SegmentError, tail.ChainError) as error:
            raise Unavailable("LogBroken", f"{stream}: after record {upto}: a segment {error}") from error
        return Evidence(
            stream=stream, upto=upto, lost_before=told.lost_before, now=time.time(), parts=told.after(after)
        )
