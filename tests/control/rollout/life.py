"""A deployment that lives: replicas that assign, play and log episodes, a store, a clock; the planner looks at it."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.control import builders as b

from checkrein.api import conditions
from checkrein.api.deployment import AgentDeployment, AgentDeploymentSpec, AgentDeploymentStatus
from checkrein.api.environment import RLEnvironment
from checkrein.api.evidence import Evidence, Part, ShadowPart, ShadowReport
from checkrein.api.policy import PolicyVersion
from checkrein.api.rollout import HistoryEntry
from checkrein.control import requests
from checkrein.control.children import PodView
from checkrein.control.plan import Answers, Plan, Unavailable
from checkrein.control.rollout import Observed, plan
from checkrein.control.workloads import agents
from checkrein.judge import assignment
from checkrein.judge.assignment import Unit
from checkrein.store.history import identity

POINTERS = [b.pointer(f"cartpole-{n}", str(n)) for n in range(1, 7)]
ONE, TWO, THREE = POINTERS[:3]
AWAY = Unavailable("StoreUnavailable", "store:9000 does not answer")
NO_KEY = Unavailable("AssignmentKeyMissing", "no key")
SILENT = Unavailable("PodSilent", "10.0.0.1:8081: ConnectError")
RETURN = {
    "name": "return",
    "metric": "return",
    "role": "Prove",
    "test": "NonInferior",
    "margin": {"of": "StableMean", "value": "0.2"},
}
ERRORS = {"name": "errors", "metric": "errors", "test": "NotAbove", "limit": "0.05"}
STEPS = [{"weight": 25, "units": 5}, {"weight": 50, "units": 10}]


def canary(*steps: dict[str, Any], gates: Any = (RETURN, ERRORS), **fields: Any) -> dict[str, Any]:
    """spec.strategy.canary."""
    return {"steps": list(steps or STEPS), "gates": list(gates), **fields}


def strategy(**fields: Any) -> dict[str, Any]:
    """A spec with a strategy: a canary, unless something else is said."""
    return {"strategy": fields or {"canary": canary()}}


@dataclass
class Replica:
    """One pod's boot: its log, and the parts that it keeps."""

    pod: PodView
    stream: str
    loaded: list[tuple[str, str]]
    upto: int = 0
    parts: dict[str, Part] = field(default_factory=dict)
    starts: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    block: tuple[int, int, int] | None = None  # number, weight, next index of the running block
    rollout: str = ""
    silent: bool = False
    lost_before: int = 0
    report: ShadowReport | None = None

    def evidence(self, after: int, now: float) -> Evidence:
        parts = [p for p in self.parts.values() if p.last > after]
        return Evidence(
            stream=self.stream,
            upto=self.upto,
            lost_before=self.lost_before,
            now=now,
            rollout=self.rollout,
            parts=parts,
            shadow=self.report,
        )

    def keep(self, part: Part) -> Part:
        """The part, as it stands after one more record."""
        self.upto += 1
        old = self.parts.get(part.episode)
        part = part.model_copy(update={"first": old.first if old else self.upto, "last": self.upto})
        self.parts[part.episode] = part
        return part


class Life:
    """One AgentDeployment, from the planner's passes. `status` is what stands in the API server."""

    def __init__(
        self,
        wanted: str = "cartpole-2",
        spec: dict[str, Any] | None = None,
        status: dict[str, Any] | None = None,
        *,
        replicas: int = 2,
        bounds: dict[str, str] | None = b.BOUNDS,
        fresh: bool = False,
        seed: int = 0,
    ) -> None:
        self.now: datetime = b.NOW
        self.versions: dict[str, PolicyVersion] = {
            p.name: b.version(p.name, letter=str(n)) for n, p in enumerate(POINTERS, start=1)
        }
        self.environments: dict[str, RLEnvironment] = {"cartpole": b.ready_environment(bounds=bounds)}
        self.replicas: list[Replica] = []
        self.gone: dict[str, Replica] = {}
        self.key = b"k" * 32  # by which arms are told
        self.stored = True  # whether the store answers
        self.store: list[HistoryEntry] = []
        self.random = random.Random(seed)
        self.boots = 0
        self.episodes = 0
        self.plan = Plan()
        self.estimate: Any = AWAY
        self._made: tuple[Any, dict[tuple[str, str], Any]] = (None, {})
        stable = {} if fresh else {"stable": ONE, "epoch": 3}
        self.agent: AgentDeployment = b.agent(
            wanted, replicas=replicas, spec=spec or {}, **{**stable, **(status or {})}
        )
        for _ in range(replicas):
            self.boot()

    # --- what happens to it

    @property
    def status(self) -> AgentDeploymentStatus:
        return self.agent.status

    def boot(self, pod: str | None = None, loaded: str = "123456") -> Replica:
        """A replica starts (again)."""
        self.boots += 1
        number = int(pod.rpartition("-")[2]) if pod else len(self.replicas)
        view = b.running_pod(name=pod or f"cartpole-agent-{number}", address=f"10.0.0.{number + 1}")
        names = [(f"cartpole-{n}", n) for n in loaded]
        replica = Replica(view, f"{view.name}-u-{self.boots}", names)
        self.replicas.append(replica)
        return replica

    def kill(self, replica: Replica) -> None:
        """It vanishes; its log is in the store."""
        self.replicas.remove(replica)
        self.gone[replica.stream] = replica

    def edit(self, **spec: Any) -> None:
        """A person changes the spec; None takes a field away."""
        body = {**self.agent.spec.dump(), **spec}
        new = AgentDeploymentSpec.model_validate({k: v for k, v in body.items() if v is not None})
        meta = self.agent.metadata.model_copy(update={"generation": self.agent.metadata.generation + 1})
        self.agent = self.agent.model_copy(update={"spec": new, "metadata": meta})

    def say(self, **words: Any) -> None:
        """A person says something to the rollout, instead of what was said before."""
        self.edit(rollout=words)

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    # --- the planner

    def look(self, seconds: float = 0.0) -> AgentDeploymentStatus:
        """One pass of the planner; its status is written, and read as another process would."""
        self.pass_(seconds)
        self.plan = plan(self.agent, self.observed(), Answers(World(self)), self.now)
        written = AgentDeploymentStatus.model_validate(self.plan.status.dump())  # type: ignore[union-attr]
        self.agent = self.agent.model_copy(update={"status": written})
        return written

    def observed(self) -> Observed:
        """What the planner sees beside the object."""
        return Observed(
            self.versions,
            self._children(),
            [r.pod for r in self.replicas],
            b.SETTINGS,
            b.CLUSTER,
            self.environments,
        )

    def until(self, wanted: Any, *, play: int = 4, most: int = 400, seconds: float = 3.0, **returns: Any) -> Any:
        """Play and look until this holds of the status."""
        for _ in range(most):
            if wanted(self.look(seconds)):
                return self.status
            self.play(play, **returns)
        raise AssertionError(self.said())

    def said(self) -> tuple[str, str, str]:
        """Reason, status and message of Progressing."""
        found = conditions.get(self.status.conditions, "Progressing")
        assert found
        return found.reason, found.status, found.message

    @property
    def acting(self) -> str | None:
        return self.status.stable.name if self.status.stable else None

    @property
    def weight(self) -> int:
        """What the candidate gets."""
        step = self.status.step
        return step.weight if step and self.status.candidate else 0

    def _children(self) -> dict[tuple[str, str], Any]:
        if self._made[0] is not self.agent.spec:
            made = agents.objects(self.agent, b.SETTINGS, b.CLUSTER)
            self._made = self.agent.spec, {(o["kind"], o["metadata"]["name"]): o for o in made}
        return self._made[1]

    # --- the replicas

    def play(self, count: int, *, candidate: float = 450.0, stable: float = 450.0, **fields: Any) -> list[Part]:
        """Whole episodes at each replica, as many as this."""
        return [
            part
            for replica in list(self.replicas)
            for _ in range(count)
            if (part := self.start(replica)) and (part := self.end(replica, part, candidate, stable, **fields))
        ]

    def start(self, replica: Replica) -> Part | None:
        """An episode begins; None where it is nobody's unit."""
        unit, arm = self._assigned(replica)
        if unit is None:
            return None
        self.episodes += 1
        return replica.keep(
            Part(
                episode=f"e{self.episodes}",
                unit=str(unit),
                arm=arm,
                started=self.now.timestamp(),
                first=0,
                last=0,
                steps=[(0, 1)],
                decided=1,
            )
        )

    def end(self, replica: Replica, part: Part, candidate: float = 450.0, stable: float = 450.0, **fields: Any) -> Part:
        """It ends after ten steps, with this return by its arm."""
        is_shadow = part.unit.startswith("shadow")
        opinion = fields.pop("shadow", {})
        shadow = ShadowPart(**{"compared": 10, "agreed": 9, **opinion}) if is_shadow else None
        reward = candidate if part.arm == "candidate" else stable
        end = {
            "steps": [(0, 10)],
            "rewarded": [(0, 10)],
            "reward": reward,
            "decided": 10,
            "ended": "terminated",
            "ended_at": self.now.timestamp(),
            "length": 10,
            "shadow": shadow,
            **fields,
        }
        return replica.keep(part.model_copy(update=end))

    def _assigned(self, replica: Replica) -> tuple[Unit | None, Any]:
        status, spec = self.status, self.agent.spec.strategy
        step, rollout = status.step, status.rollout
        seed = assignment.opened(rollout.seed, self.key or b"k" * 32) if rollout else ""
        if self.agent.spec.override is not None or status.stable is None:
            return None, "stable"
        if step is None or status.candidate is None or rollout is None or step.kind == "Loading":
            return self._plain("watch", f"{status.stable.name}.e{status.epoch}", replica)
        if step.kind == "Shadow":
            return self._plain("shadow", rollout.id, replica)
        if step.weight == 0:
            return None, "stable"
        if spec and spec.unit == "Client":
            client = f"c{self.random.randrange(10**9)}"
            return Unit("client", rollout.id, client, weight=step.weight), assignment.of_client(
                seed, client, step.weight
            )
        if spec and spec.unit == "Window":
            size, _ = assignment.shape(step.weight)
            number = int(self.now.timestamp() // spec.window.total_seconds())  # type: ignore[union-attr]
            block, index = divmod(number, size)
            arm = assignment.arms(seed, "", block, step.weight)[index]
            return Unit("window", rollout.id, "", block, index, step.weight), arm
        return self._blocked(replica, rollout.id, seed, step.weight)

    @staticmethod
    def _plain(kind: Any, rollout: str, replica: Replica) -> tuple[Unit, str]:
        number = replica.starts[kind, rollout]
        replica.starts[kind, rollout] += 1
        replica.rollout = rollout
        return Unit(kind, rollout, replica.stream, number), "stable"

    @staticmethod
    def _blocked(replica: Replica, rollout: str, seed: str, weight: int) -> tuple[Unit, str]:
        if replica.rollout != rollout or replica.block is None:
            replica.rollout, replica.block = rollout, (0, weight, 0)
        number, own, index = replica.block
        if index >= assignment.shape(own)[0]:
            number, own, index = number + 1, weight, 0
        replica.block = (number, own, index + 1)
        arm = assignment.arms(seed, replica.stream, number, own)[index]
        return Unit("episode", rollout, replica.stream, number, index, own), arm


class World(dict[Any, Any]):
    """What a Life answers."""

    def __init__(self, life: Life) -> None:
        super().__init__()
        self.life = life

    def __contains__(self, request: object) -> bool:
        return True

    def __getitem__(self, request: Any) -> Any:
        if request not in self.keys():
            self[request] = self._answer(request)
        return super().__getitem__(request)

    def _answer(self, request: Any) -> Any:
        life, now = self.life, self.life.now.timestamp()
        match request:
            case requests.EnsureSession() | requests.EnsureTokenKey():
                return request.name
            case requests.ReadAgent(address):
                replica = self._at(address)
                return b.loaded(*replica.loaded) if replica else SILENT
            case requests.ReadEvidence(address, after):
                replica = self._at(address)
                return replica.evidence(after, now) if replica and not replica.silent else SILENT
            case requests.ReadStoredEvidence(_, stream, after):
                known = {**life.gone, **{r.stream: r for r in life.replicas}}
                return known[stream].evidence(after, now) if life.stored and stream in known else AWAY
            case requests.DrawSeed(_, rollout):
                return f"{assignment.KEYED}{rollout}"
            case requests.OpenSeed(_, _, seed):
                return assignment.opened(seed, life.key) if life.key else NO_KEY
            case requests.EstimateOffPolicy():
                return life.estimate
            case requests.ReadHistory():
                return tuple(life.store) if life.stored else AWAY
            case requests.AppendHistory(_, _, entry):
                return self._append(entry) if life.stored else AWAY
        raise AssertionError(f"nobody answers {request}")

    def _at(self, address: str) -> Replica | None:
        return next((r for r in self.life.replicas if r.pod.address == address), None)

    def _append(self, entry: HistoryEntry) -> int:
        known = [identity(e) for e in self.life.store]
        if identity(entry) not in known:
            self.life.store.append(entry.model_copy(update={"seq": len(known) + 1, "stored": True}))
            return len(known) + 1
        return known.index(identity(entry)) + 1
