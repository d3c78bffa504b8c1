"""Environment -> training jobs -> policy versions -> agents, as a tree. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from checkrein.api import conditions
from checkrein.api.deployment import AgentDeployment
from checkrein.api.environment import RLEnvironment
from checkrein.api.policy import PolicyVersion
from checkrein.api.training import EvaluationStatus, TrainingJob
from checkrein.cli.objects import Objects, Resource, main_condition
from checkrein.cli.style import Style, bar
from checkrein.cli.text import number, plural

MISSING = "missing"


@dataclass(frozen=True)
class Node:
    """One object, how it stands, and what came of it."""

    kind: str
    namespace: str
    name: str
    phase: str
    said: str = ""
    """What it tells besides, in a few words."""
    why: str = ""
    """Reason and message of its main condition, where that is not True."""
    children: Sequence[Node] = field(default_factory=tuple)

    def document(self) -> dict[str, Any]:
        """For programs."""
        fields = {"kind": self.kind, "namespace": self.namespace, "name": self.name, "phase": self.phase}
        told = {key: value for key, value in (("detail", self.said), ("why", self.why)) if value}
        below = {"children": [child.document() for child in self.children]} if self.children else {}
        return fields | told | below


def grow(objects: Objects) -> list[Node]:
    """The roots: environments, those that are named and missing, and agents that have no version yet."""
    jobs, versions, agents = list(objects.jobs), list(objects.versions), list(objects.agents)
    places = [(e.metadata.namespace, e.metadata.name) for e in objects.environments]
    named = [(j.metadata.namespace, j.spec.environment_ref.name) for j in jobs]
    named += [(v.metadata.namespace, v.spec.environment.name) for v in versions]
    known = {(e.metadata.namespace, e.metadata.name): e for e in objects.environments}
    roots = []
    for place in sorted({*places, *named}):
        mine = [j for j in jobs if (j.metadata.namespace, j.spec.environment_ref.name) == place]
        born = [v for v in versions if (v.metadata.namespace, v.spec.environment.name) == place]
        roots.append(_environment(place, known.get(place), _below(mine, born, agents)))
    used = {(a.metadata.namespace, name) for a in agents for name, _ in _roles(a)}
    present = {(v.metadata.namespace, v.metadata.name) for v in versions}
    waiting = [a for a in agents if not {(a.metadata.namespace, n) for n, _ in _roles(a)} & used & present]
    return [*roots, *(_agent(a, "") for a in waiting)]


def _below(
    jobs: Iterable[TrainingJob], versions: Sequence[PolicyVersion], agents: Sequence[AgentDeployment]
) -> list[Node]:
    """Jobs with the versions that came of them, then versions whose job is gone."""
    nodes, placed = [], set()
    for job in jobs:
        mine = [v for v in versions if v.metadata.name == job.status.policy_version]
        placed |= {v.metadata.name for v in mine}
        nodes.append(_job(job, [_version(v, agents) for v in mine]))
    return [*nodes, *(_version(v, agents) for v in versions if v.metadata.name not in placed)]


def _why(obj: Resource) -> str:
    said = main_condition(obj)
    return f"{said.reason}: {said.message}".removesuffix(": ") if said and said.status != "True" else ""


def _environment(place: tuple[str, str], env: RLEnvironment | None, children: Sequence[Node]) -> Node:
    namespace, name = place
    if env is None:
        why = "NotFound: what was trained names it, and it is not there"
        return Node("RLEnvironment", namespace, name, MISSING, why=why, children=children)
    findings = env.status.findings
    speed = f"{findings.steps_per_second} steps/s" if findings and findings.steps_per_second else ""
    return Node("RLEnvironment", namespace, name, env.status.phase, speed, _why(env), children)


def _job(job: TrainingJob, children: Sequence[Node]) -> Node:
    status, progress = job.status, job.status.progress
    parts: list[str] = [job.spec.algorithm.name]
    if status.phase == "Running" and progress:
        parts.append(bar(progress.percent))
        parts += [f"{progress.eta} left"] if progress.eta else []
        parts += [f"return {number(progress.episode_return)}"] if progress.episode_return is not None else []
    if status.evaluation:
        parts.append(_evaluated(status.evaluation))
    if status.attempt > 1:
        parts.append(f"attempt {status.attempt}")
    meta = job.metadata
    return Node("TrainingJob", meta.namespace, meta.name, status.phase, ", ".join(parts), _why(job), children)


def _version(version: PolicyVersion, agents: Iterable[AgentDeployment]) -> Node:
    meta = version.metadata
    users = [
        _agent(agent, role)
        for agent in agents
        if agent.metadata.namespace == meta.namespace
        for name, role in _roles(agent)
        if name == meta.name
    ]
    said = _evaluated(version.spec.evaluation)
    return Node("PolicyVersion", meta.namespace, meta.name, version.status.phase, said, _why(version), users)


def _evaluated(shown: EvaluationStatus) -> str:
    """The bound is there where a gate asked for one."""
    bound = f", at least {number(shown.lower_bound)}" if shown.lower_bound is not None else ""
    return f"mean {number(shown.mean)}{bound}"


def _roles(agent: AgentDeployment) -> Iterator[tuple[str, str]]:
    """Versions that it uses and for what, each once."""
    status, seen = agent.status, set()
    step = status.step
    weight = f" at {step.weight} %" if step and step.kind == "Canary" else ""
    uses = [
        (status.stable.name if status.stable else None, "stable"),
        (status.candidate.name if status.candidate else None, f"candidate, {step.kind if step else 'Loading'}{weight}"),
        (agent.spec.fallback.policy_version if agent.spec.fallback else None, "fallback"),
        (agent.spec.override.policy_version if agent.spec.override else None, "pinned by an override"),
    ]
    for name, role in uses:
        if name and name not in seen:
            seen.add(name)
            yield name, role


def _agent(agent: AgentDeployment, role: str) -> Node:
    meta, status = agent.metadata, agent.status
    parts = [role, f"{status.ready_replicas} of {plural(agent.spec.replicas, 'replica')} ready"]
    held = conditions.get(status.conditions, "Overridden")
    if held and held.status == "True":
        parts.append(f"override {held.reason}")
    said = ", ".join(filter(None, parts))
    return Node("AgentDeployment", meta.namespace, meta.name, status.phase, said, _why(agent))


def draw(nodes: Sequence[Node], style: Style, *, wide: bool = False, namespaces: bool = False) -> list[str]:
    """Lines. `wide`: with the reason and the message of what is not as it should be."""
    rows = list(_rows(nodes, "", "", namespaces))
    width = max((len(label) for label, _ in rows), default=0)
    phases = max((len(node.phase) for _, node in rows), default=0)
    lines = []
    for label, node in rows:
        gap = " " * (phases - len(node.phase))
        line = f"{label:<{width}}  {style.phase(node.phase)}{gap}  {node.said}".rstrip()
        lines.append(line + (f"  {style.dim(node.why)}" if wide and node.why else ""))
    return lines


def _rows(nodes: Sequence[Node], first: str, later: str, namespaces: bool) -> Iterator[tuple[str, Node]]:
    """Each node with its label, indented under what it came of."""
    for index, node in enumerate(nodes):
        last = index == len(nodes) - 1
        root = not first and not later
        branch, below = ("", "") if root else ("`- " if last else "|- ", "   " if last else "|  ")
        where = f"{node.namespace}/" if namespaces and root else ""
        yield f"{later}{branch}{node.kind} {where}{node.name}", node
        yield from _rows(node.children, "|", f"{later}{below}" if not root else " ", namespaces)
