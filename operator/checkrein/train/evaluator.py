"""Entry point `checkrein-evaluator`: play the exported artifact on seeds that training never saw."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from checkrein.api.digests import sha256
from checkrein.api.meta import FileReference
from checkrein.api.tasks import EvaluationReport, EvaluationResults, EvaluationTask
from checkrein.store import artifacts, recordings
from checkrein.store.client import Store
from checkrein.store.errors import StoreError
from checkrein.train import session
from checkrein.train.evaluation import Played, evaluate
from checkrein.train.failures import Failed
from checkrein.train.patience import patiently
from checkrein.train.policy import Policy
from checkrein.train.recording import Parent, record
from checkrein.train.seeds import evaluation_seeds
from checkrein.train.shielding import Shielded
from checkrein.wrappers.environments import EnvironmentFault

RESULTS = "results.json"
RECORDING = "recording.json.gz"
STORE_SECONDS = 60.0  # for what nobody's verdict waits for
log = logging.getLogger(__name__)


def main() -> None:
    """Evaluate what the task in CHECKREIN_TASK names."""
    sys.exit(session.run(EvaluationTask, evaluator, lambda failure: EvaluationReport(failure=failure)))


def evaluator(task: EvaluationTask) -> EvaluationReport:
    """Play, store every episode's seed, return and length, and a few episodes whole. Raises Failed, StoreError."""
    store = session.open_store(task.store)
    policy = Shielded(Policy(patiently(lambda: artifacts.load_run(store, task.manifest))), task.environment.safety)
    seeds = evaluation_seeds(task.job.uid, task.attempt, task.episodes)
    try:
        played = evaluate(task.environment, policy, seeds)
    except EnvironmentFault as fault:
        raise Failed(fault.reason, str(fault), permanent=True) from fault
    results = EvaluationResults(
        manifest=task.manifest.digest,
        seeds=seeds,
        returns=played.returns,
        lengths=played.lengths,
        shielded=played.shielded,
        ended=played.ended,
    )
    data = results.model_dump_json(by_alias=True).encode()
    written = patiently(lambda: store.put(f"{task.store.write_prefix}{RESULTS}", data))
    return EvaluationReport(
        results=FileReference(key=written.key, digest=sha256(data), size=len(data)),
        recording=_recorded(task, store, policy, seeds, played),
    )


def _recorded(
    task: EvaluationTask, store: Store, policy: Shielded, seeds: Sequence[int], played: Played
) -> FileReference | None:
    """What people look at keeps no policy from being judged, whatever fails here; only who is told to end, ends."""
    try:
        parent, remarks = _parent(task)
        recorded = record(task.environment, policy, task.manifest.digest, seeds, played, parent, remarks)
        data = recordings.pack(recorded)
        written = patiently(lambda: store.put(f"{task.store.write_prefix}{RECORDING}", data), seconds=STORE_SECONDS)
    except Failed:
        raise
    except Exception:
        log.exception("nothing of this evaluation is kept to be looked at")
        return None
    return FileReference(key=written.key, digest=sha256(data), size=len(data))


def _parent(task: EvaluationTask) -> tuple[Parent | None, list[str]]:
    """The version before, or why it cannot be asked."""
    if task.parent is None or task.policies is None:
        return None, []
    name, artifact = task.parent.name, task.parent.artifact
    store = session.open_store(task.policies)
    try:
        loaded = patiently(lambda: artifacts.load(store, artifact), seconds=STORE_SECONDS)
    except StoreError as error:
        return None, [f"{name} could not be read: {error}"]
    return Parent(name, artifact.digest, Policy(loaded)), []
