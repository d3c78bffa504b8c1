"""Why is it not ready? From an object through what it needs to the first thing that is wrong. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from checkrein.api import conditions
from checkrein.api.deployment import AgentDeployment
from checkrein.api.environment import RLEnvironment
from checkrein.api.names import OWNER_UID
from checkrein.api.policy import PolicyVersion
from checkrein.api.training import TrainingJob
from checkrein.cli.objects import MAIN, Objects, Resource

Raw = Mapping[str, Any]
DEPTH = 6
ABNORMAL = frozenset({"Stalled", "Failed", "Overridden"})
"""Conditions that say something where they are True."""


@dataclass(frozen=True)
class Surroundings:
    """What an explanation may look at: the four kinds, what was made for them, and warnings, of one namespace."""

    objects: Objects
    pods: Sequence[Raw] = ()
    workloads: Sequence[Raw] = ()
    """Jobs and StatefulSets."""
    events: Sequence[Raw] = ()
    """Events (core v1) of type Warning."""

    def children(self, objects: Sequence[Raw], uid: str) -> list[Raw]:
        """Those that were made for the object of this uid."""
        return [obj for obj in objects if obj["metadata"].get("labels", {}).get(OWNER_UID) == uid]


@dataclass(frozen=True)
class Cause:
    """Something that is not as it should be, and what lies behind it."""

    text: str
    behind: Sequence[Cause] = field(default_factory=tuple)


def explain(obj: Resource, around: Surroundings, depth: int = DEPTH) -> Cause | None:
    """None where nothing is wrong."""
    title, behind = _title(obj), list(_behind(obj, around, depth))
    return Cause(title, behind) if behind else None


def lines(cause: Cause, indent: str = "") -> Iterator[str]:
    """As text, what lies behind something indented under it."""
    yield f"{indent}{cause.text}"
    for deeper in cause.behind:
        yield from lines(deeper, f"{indent}  ")


def _title(obj: Resource) -> str:
    return f"{type(obj).__name__} {obj.metadata.name} is {obj.status.phase}"


def _behind(obj: Resource, around: Surroundings, depth: int) -> Iterator[Cause]:
    wrong = [Cause(text) for text in (*_unread(obj), *_conditions(obj), *_replicas(obj))]
    if not wrong:
        return
    yield from wrong
    if depth:
        yield from _needed(obj, around, depth - 1)
    pods = around.children(around.pods, obj.metadata.uid)
    for pod in pods:
        yield from (Cause(f"pod {pod['metadata']['name']}: {text}") for text in pod_problems(pod))
    # What became of a pod that runs or has run, its state tells; old warnings would only confuse.
    stuck = [pod for pod in pods if pod.get("status", {}).get("phase", "Pending") == "Pending"]
    yield from _warnings([*stuck, *around.children(around.workloads, obj.metadata.uid)], around)


def _unread(obj: Resource) -> Iterator[str]:
    if obj.status.observed_generation != obj.metadata.generation:
        yield "the operator has not read the latest spec yet: `checkrein doctor` says whether it runs"


def _replicas(obj: Resource) -> Iterator[str]:
    if not isinstance(obj, AgentDeployment):
        return
    ready = conditions.get(obj.status.conditions, "Ready")
    if obj.status.ready_replicas < obj.spec.replicas:
        yield f"{obj.status.ready_replicas} of {obj.spec.replicas} replicas are ready"
    elif obj.status.phase == "Degraded" and ready and ready.status == "True":  # some decide by the fallback
        yield ready.message


def _conditions(obj: Resource) -> Iterator[str]:
    main = MAIN[type(obj).__name__]
    for said in obj.status.conditions:
        bad = said.status == "True" if said.type in ABNORMAL else said.status != "True"
        if said.type == "Progressing" and conditions.is_true(obj.status.conditions, main):
            bad = bad and said.reason not in ("Healthy", "Complete")
        if bad and (said.type in (main, "Progressing") or said.reason):
            yield f"{said.type} is {said.status}, {said.reason}: {said.message}".removesuffix(": ")


def _needed(obj: Resource, around: Surroundings, depth: int) -> Iterator[Cause]:
    """What the object names, where that is missing or not right itself."""
    if isinstance(obj, TrainingJob):
        yield from _reference(around.objects.environments, RLEnvironment, obj.spec.environment_ref.name, around, depth)
    elif isinstance(obj, AgentDeployment):
        names = [obj.spec.policy_version]
        names += [obj.spec.fallback.policy_version] if obj.spec.fallback and obj.spec.fallback.policy_version else []
        names += [obj.spec.override.policy_version] if obj.spec.override and obj.spec.override.policy_version else []
        for name in dict.fromkeys(names):
            missing = list(_reference(around.objects.versions, PolicyVersion, name, around, depth))
            yield from missing
            if missing and not any(v.metadata.name == name for v in around.objects.versions):
                yield from _publishers(name, around, depth)


def _reference(
    present: Sequence[Resource], model: type[Resource], name: str, around: Surroundings, depth: int
) -> Iterator[Cause]:
    found = next((obj for obj in present if obj.metadata.name == name), None)
    if found is None:
        yield Cause(f"{model.__name__} {name} does not exist")
    elif cause := explain(found, around, depth):
        yield cause


def _publishers(name: str, around: Surroundings, depth: int) -> Iterator[Cause]:
    """Training jobs that may yet bring the version."""
    for job in around.objects.jobs:
        if name.startswith(f"{job.spec.publish.policy}-") and job.status.policy_version is None:
            yield explain(job, around, depth) or Cause(_title(job))


def pod_problems(pod: Raw) -> Iterator[str]:
    """Why a pod does not run, or did not end well."""
    status = pod.get("status", {})
    for said in status.get("conditions", ()):
        if said["type"] == "PodScheduled" and said["status"] == "False":
            yield f"{said.get('reason', 'NotScheduled')}: {said.get('message', '')}".removesuffix(": ")
    for container in status.get("containerStatuses", ()):
        state = container.get("state", {})
        if waiting := state.get("waiting"):
            yield f"waits, {waiting.get('reason', '')}: {waiting.get('message', '')}".removesuffix(": ")
        ended = state.get("terminated") or {}
        if ended.get("exitCode"):
            yield f"ended, {ended.get('reason', 'Error')}, exit code {ended['exitCode']}"
        before = container.get("lastState", {}).get("terminated") or {}
        if before.get("exitCode"):
            times = container.get("restartCount", 0)
            yield f"restarted {times} times; before, {before.get('reason', 'Error')}, exit code {before['exitCode']}"
    if status.get("reason"):
        yield f"{status['reason']}: {status.get('message', '')}".removesuffix(": ")


def _warnings(children: Sequence[Raw], around: Surroundings) -> Iterator[Cause]:
    """The newest warnings about these, each reason once. Those about the object itself its conditions tell."""
    uids = {child["metadata"]["uid"] for child in children}
    newest: dict[tuple[str, str], str] = {}
    for event in sorted(around.events, key=_time):
        about, reason = event["involvedObject"], event.get("reason", "")
        if about.get("uid") in uids:
            newest[about["kind"], reason] = f"{about['kind']} {about['name']}, {reason}: {event.get('message', '')}"
    yield from (Cause(f"event about {text}") for text in newest.values())


def _time(event: Raw) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")
