"""Trials of mutations on a running system: refused by name, or told in a condition; then mended, and as before."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.api.server import Refused
from tests.cluster.steps import ClusterError
from tests.control.audit import USER
from tests.control.conftest import Operator
from tests.faults.mutation_stage import Stage
from tests.faults.mutations import Mutation

from checkrein.control.kinds import KINDS

Raw = dict[str, Any]
SIDE_BY_SIDE = 32
SECONDS = 300.0
MOST_WRITES = 8  # of the operator in a namespace where nothing happens, within two resyncs: failures back off
_batches = itertools.count(1)


@dataclass
class Trial:
    """What came of one mutation."""

    mutation: Mutation
    outcome: str = ""  # refused, served or told
    said: str = ""
    problems: list[str] = field(default_factory=list)

    def dump(self) -> Raw:
        """As JSON data."""
        mutation = self.mutation
        return {"mutation": mutation.title, "outcome": self.outcome, "said": self.said[:400], "problems": self.problems}


def try_all(stage: Stage, operator: Operator, audit_log: Path, chosen: Iterable[Mutation]) -> list[Trial]:
    """Every mutation: those that the API server refuses one by one, the others side by side."""
    trials = [Trial(m) for m in chosen]
    process = operator.process.identity
    accepted = [t for t in trials if not refused(stage, t)]
    for number in range(0, len(accepted), SIDE_BY_SIDE):
        some = accepted[number : number + SIDE_BY_SIDE]
        _Batch(stage, operator, audit_log, some).run()
        for trial in some:
            if trial.problems:
                print(trial.dump())
        print(f"{number + len(some)} of {len(accepted)} accepted ones are tried", flush=True)
    if operator.process.identity != process or not operator.process.alive():
        trials[-1].problems.append("the operator ended")
    return trials


def refused(stage: Stage, trial: Trial) -> bool:
    """Whether the API server refuses it: on the good object that stands there, and as a new one."""
    mutation = trial.mutation
    obj = stage.rebased(mutation.obj)
    try:
        if mutation.kind == "AgentDeployment" and obj["metadata"]["name"] == "cartpole":
            stage.put(stage.home, obj, dry_run=True)
        else:
            stage.node.server.send("POST", KINDS[mutation.kind].path(stage.empty), obj, dry_run=True)
    except Refused as refused:
        trial.outcome, trial.said = "refused", refused.message
        if not _names(refused, mutation):
            trial.problems.append("the refusal does not name the field")
        return True
    return False


def _names(refused: Refused, mutation: Mutation) -> bool:
    said = refused.message
    return any(word in said for word in mutation.words) or ("spec" in said and mutation.path == "spec")


class _Batch:
    """Accepted mutations, each in a namespace of its own, all at the same time."""

    def __init__(self, stage: Stage, operator: Operator, audit_log: Path, trials: list[Trial]) -> None:
        self.stage, self.operator, self.audit_log = stage, operator, audit_log
        self.trials = trials
        number = next(_batches)
        self.namespaces = [f"{stage.prefix}-{number}-{t.mutation.number}" for t in trials]
        self.pairs = list(zip(trials, self.namespaces, strict=True))
        self.neighbours: dict[str, str] = {}

    def run(self) -> None:
        """From good to bad and back."""
        programs = self.stage.node.programs
        before = len(programs)
        try:
            self._furnish()
            self._mutate()
            self._wait("stands still: neither served nor told", self._settled)
            self._wait("a good one beside it is not served", self._neighbour_served)
            self._calm()
            self._mend()
            self._wait("is not as before after the mend", self._recovered)
        finally:
            for namespace in self.namespaces:
                self.stage.clear(namespace)
            programs.end(before)

    def _furnish(self) -> None:
        for trial, namespace in self.pairs:
            kind = trial.mutation.kind
            self.stage.furnish(namespace, kind)
            if kind == "AgentDeployment" and self._subject(trial) == "cartpole":
                self.stage.create(namespace, self.stage.good(kind))
        self._wait("is not good before it is changed", self._furnished)

    def _furnished(self, trial: Trial, namespace: str) -> bool:
        kind = trial.mutation.kind
        if kind == "AgentDeployment" and self._subject(trial) == "cartpole":
            return self.stage.served(kind, namespace, "cartpole")
        return kind != "TrainingJob" or self.stage.served("RLEnvironment", namespace, "cartpole")

    def _mutate(self) -> None:
        for trial, namespace in self.pairs:
            obj = (
                self.stage.rebased(trial.mutation.obj) if trial.mutation.kind == "PolicyVersion" else trial.mutation.obj
            )
            try:
                if self.stage.node.get(obj["kind"], namespace, obj["metadata"]["name"]):
                    self.stage.put(namespace, obj)
                else:
                    self.stage.create(namespace, obj)
            except Refused as refused:
                trial.outcome, trial.said = "refused", refused.message
            self.neighbours[namespace] = self.stage.neighbour(namespace, trial.mutation.kind)

    def _settled(self, trial: Trial, namespace: str) -> bool:
        kind, name = trial.mutation.kind, self._subject(trial)
        if trial.outcome == "refused":
            return True
        if said := self.stage.complaint(kind, namespace, name):
            trial.outcome, trial.said = "told", said
        elif self.stage.served(kind, namespace, name):
            trial.outcome = "served"
        return bool(trial.outcome)

    def _neighbour_served(self, trial: Trial, namespace: str) -> bool:
        return self.stage.served(trial.mutation.kind, namespace, self.neighbours[namespace])

    def _calm(self) -> None:
        """Two resyncs in which nothing happens but what the operator does by itself."""
        self._resyncs(1)
        begin = self.audit_log.stat().st_size
        self._resyncs(2)
        counted: Counter[str] = Counter()
        with self.audit_log.open() as log:
            log.seek(begin)
            for line in log:
                if USER in line and line.endswith("}\n"):
                    event = json.loads(line)
                    if event["verb"] not in ("get", "list", "watch"):
                        counted[event.get("objectRef", {}).get("namespace", "")] += 1
        for trial, namespace in self.pairs:
            self._settled(trial, namespace)  # as it stands now
            if counted[namespace] > MOST_WRITES:
                trial.problems.append(f"{counted[namespace]} writes within two resyncs")

    def _resyncs(self, count: int) -> None:
        seen = _metric(self.operator, "checkrein_resyncs_total")
        done = lambda: _metric(self.operator, "checkrein_resyncs_total") >= seen + count  # noqa: E731
        self.stage.node.until(done, "comparisons with a list", SECONDS)

    def _mend(self) -> None:
        for trial, namespace in self.pairs:
            kind, name = trial.mutation.kind, self._subject(trial)
            good = self.stage.good(kind)
            good["metadata"]["name"] = name
            if kind == "PolicyVersion":
                good["spec"]["policy"] = name.rpartition("-")[0] or "cartpole"
            if self.stage.node.get(kind, namespace, name) and not self._replaced(kind, namespace, good):
                self.stage.node.delete(kind, namespace, name)
            if self.stage.node.get(kind, namespace, name) is None:
                self.stage.node.create(kind, namespace, good)

    def _replaced(self, kind: str, namespace: str, good: Raw) -> bool:
        """False where another one has to take its place: its fields are fixed, or it has failed for good."""
        if self.stage.node.said(kind, namespace, good["metadata"]["name"], "Failed")[1] == "True":
            return False
        try:
            self.stage.put(namespace, good)
        except Refused:
            return False
        return True

    def _recovered(self, trial: Trial, namespace: str) -> bool:
        kind, name = trial.mutation.kind, self._subject(trial)
        if not self.stage.served(kind, namespace, name):
            return False
        return bool(
            self.stage.fingerprint(kind, namespace, name)
            == self.stage.fingerprint(kind, namespace, self.neighbours[namespace])
            or kind in ("TrainingJob", "PolicyVersion")
        )

    def _subject(self, trial: Trial) -> str:
        return str(trial.mutation.obj["metadata"]["name"])

    def _wait(self, problem: str, holds: Any) -> None:
        """Goes on until it holds of all; of whom it never does is noted, and nobody waits for them again."""
        left = [pair for pair in self.pairs if not pair[0].problems]

        def all_hold() -> bool:
            left[:] = [pair for pair in left if not holds(*pair)]
            return not left

        try:
            self.stage.node.until(all_hold, problem, SECONDS)
        except ClusterError:
            for trial, namespace in left:
                obj = self.stage.node.get(trial.mutation.kind, namespace, self._subject(trial)) or {}
                trial.problems.append(f"{problem}: {json.dumps(obj.get('status', {}))[:1500]}")


def _metric(operator: Operator, name: str) -> float:
    lines = operator.get("/metrics")[1].splitlines()
    return next((float(line.split()[1]) for line in lines if line.startswith(f"{name} ")), 0.0)
