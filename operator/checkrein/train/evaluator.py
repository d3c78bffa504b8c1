"""Entry point `checkrein-evaluator`: play the exported artifact on seeds that training never saw."""

from __future__ import annotations

import sys

from checkrein.api.digests import sha256
from checkrein.api.meta import FileReference
from checkrein.api.tasks import EvaluationReport, EvaluationResults, EvaluationTask
from checkrein.store import artifacts
from checkrein.train import session
from checkrein.train.evaluation import evaluate
from checkrein.train.failures import Failed
from checkrein.train.patience import patiently
from checkrein.train.policy import Policy
from checkrein.train.seeds import evaluation_seeds
from checkrein.wrappers.environments import EnvironmentFault

RESULTS = "results.json"


def main() -> None:
    """Evaluate what the task in CHECKREIN_TASK names."""
    sys.exit(session.run(EvaluationTask, evaluator, lambda failure: EvaluationReport(failure=failure)))


def evaluator(task: EvaluationTask) -> EvaluationReport:
    """Play, store every episode's seed, return and length. Raises Failed, StoreError."""
    store = session.open_store(task.store)
    policy = Policy(patiently(lambda: artifacts.load_run(store, task.manifest)))
    seeds = evaluation_seeds(task.job.uid, task.attempt, task.episodes)
    try:
        played = evaluate(task.environment, policy, seeds)
    except EnvironmentFault as fault:
        raise Failed(fault.reason, str(fault), permanent=True) from fault
    results = EvaluationResults(
        manifest=task.manifest.digest, seeds=seeds, returns=played.returns, lengths=played.lengths
    )
    data = results.model_dump_json(by_alias=True).encode()
    written = patiently(lambda: store.put(f"{task.store.write_prefix}{RESULTS}", data))
    return EvaluationReport(results=FileReference(key=written.key, digest=sha256(data), size=len(data)))
