"""What must be so in the end, and what must never have been."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence, Set
from operator import itemgetter
from typing import Any

from tests.faults.proxy import Exchange
from tests.faults.scenes import Scene

from checkrein.control.kinds import CHILDREN, KINDS, OWN

Raw = dict[str, Any]
# When, where and by which try something came about: the same end is reached at another time.
PASSING = frozenset(
    {"lastTransitionTime", "time", "since", "began", "scoredAt", "idleSince", "idleSeconds", "pausingSince"}
    | {"progress", "checkpoint", "startTime", "completionTime", "seed", "streams"}
    | {"observedGeneration", "generation", "versionId"}
)
# What real programs measure: the machine's pace, and episodes by seeds of the job's uid.
MEASURED = frozenset({"evaluation", "recording", "findings"})
UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
ADDRESS = re.compile(r"127\.\d+\.\d+\.\d+(:\d+)?")
RUNNING = re.compile(r"\d+ of \d+ running replicas")  # how many ran at that moment


def state(scene: Scene) -> Raw:
    """All that is there, without what passes: objects, children with their owners, reserved numbers."""
    pods, namespace = scene.pods, scene.namespace
    own = {kind.kind: pods.all(kind.kind, namespace) for kind in OWN}
    uids = {o["metadata"]["uid"]: f"{kind}/{o['metadata']['name']}" for kind, all_ in own.items() for o in all_}
    passing = PASSING | MEASURED if scene.world.node.real else PASSING
    found: Raw = {
        f"{kind}/{o['metadata']['name']}": _lasting(o, namespace, passing) for kind, all_ in own.items() for o in all_
    }
    for kind in (*CHILDREN, KINDS["Secret"]):
        for obj in pods.all(kind.kind, namespace):
            if obj["metadata"].get("ownerReferences") and kind.kind != "Pod":
                owners = [uids.get(o["uid"], "nobody") for o in obj["metadata"]["ownerReferences"]]
                found[f"{kind.kind}/{obj['metadata']['name']}"] = owners
    store, cluster = scene.world.policies(), scene.world.cluster
    for folder in ("versions", "evaluations", "history"):
        keys = [v.key for v in store.versions(f"{folder}/{cluster}/{namespace}/")]
        found[folder] = sorted(key.removeprefix(f"{folder}/{cluster}/{namespace}/") for key in keys)
    return found


def is_whole(state: Raw) -> bool:
    """Whether the store has every entry of a history: it may be told half a minute later."""
    agents = (obj for name, obj in state.items() if name.startswith("AgentDeployment/"))
    return all(entry.get("stored") for agent in agents for entry in agent["status"].get("history", ()))


def _lasting(obj: Raw, namespace: str, passing: Set[str]) -> Raw:
    text = json.dumps({"spec": obj["spec"], "status": obj.get("status", {})}).replace(namespace, "NAMESPACE")
    for pattern, word in ((UID, "UID"), (TIME, "TIME"), (ADDRESS, "ADDRESS"), (RUNNING, "RUNNING")):
        text = pattern.sub(word, text)
    whole: Raw = json.loads(text)
    conditions = whole["status"].pop("conditions", [])
    kept = {c["type"]: c for c in conditions if (c["type"], c["status"]) != ("Reconciled", "True")}
    whole["status"]["conditions"] = kept
    lasting: Raw = _without(whole, passing)
    return lasting


def _without(value: Any, passing: Set[str]) -> Any:
    if isinstance(value, dict):
        return {k: _without(v, passing) for k, v in value.items() if k not in passing}
    return [_without(v, passing) for v in value] if isinstance(value, list) else value


def differences(found: Any, wanted: Any, path: str = "") -> Iterator[str]:
    """Where they differ, as sentences."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted({*found, *wanted}):
            yield from differences(found.get(key), wanted.get(key), f"{path}.{key}" if path else key)
    elif found != wanted:
        yield f"{path}: {json.dumps(found)} instead of {json.dumps(wanted)}"


def violations(exchanges: Sequence[Exchange]) -> list[str]:
    """What the operator did to the API server, and must never do, whatever happens."""
    writes = _ordered([_Write(e) for e in exchanges if e.call.writes and e.answer.status in (200, 201)])
    return [*_twice(writes), *_numbers(writes), *_unverified(writes)]


class _Write:
    """One that the API server took."""

    def __init__(self, exchange: Exchange) -> None:
        self.method = exchange.call.method
        self.created = exchange.answer.status == 201
        self.obj: Raw = json.loads(exchange.answer.body)
        meta = self.obj.get("metadata", {})
        self.kind, self.name = self.obj.get("kind", ""), meta.get("name", "")
        self.version = int(meta.get("resourceVersion") or 0)
        self.resource = f"{self.kind}/{self.name}"
        owners = [o["uid"] for o in meta.get("ownerReferences", ())]
        self.owner = (owners or [(self.obj.get("spec", {}).get("provenance") or {}).get("uid", "")])[0]


def _ordered(answered: Sequence[_Write]) -> list[_Write]:
    """As the API server took them: answers overtake each other. What has no version of its own stays where it was."""
    version, placed = 0, []
    for write in answered:
        version = write.version or version
        placed.append((version, write))
    return [write for _, write in sorted(placed, key=itemgetter(0))]


def _twice(writes: Iterable[_Write]) -> Iterator[str]:
    """For one owner a name is created once, unless it was deleted by the operator in between."""
    made: set[tuple[str, str]] = set()
    for write in writes:
        key = (write.resource, write.owner)
        if write.method == "DELETE":
            details = write.obj.get("details", {})
            name = details.get("name", write.name)
            made -= {k for k in made if k[0].partition("/")[2] == name}
        elif write.created and write.kind != "Event":
            if key in made:
                yield f"{write.resource} was created twice for one owner"
            made.add(key)


def _numbers(writes: Iterable[_Write]) -> Iterator[str]:
    """One number of a policy's name stands for one owner and one artifact."""
    given: dict[str, tuple[str, str]] = {}
    for write in writes:
        if write.created and write.kind == "PolicyVersion":
            bytes_ = (write.owner, write.obj["spec"]["artifact"]["digest"])
            if given.setdefault(write.name, bytes_) != bytes_:
                yield f"{write.name} was given out twice"


def _unverified(writes: Iterable[_Write]) -> Iterator[str]:
    """Who is shown to replicas was verified; who acts changes with the epoch, which only grows."""
    verified: set[str] = set()
    before: dict[str, tuple[int, str]] = {}
    for write in writes:
        status = write.obj.get("status", {})
        if write.kind == "PolicyVersion":
            said = {c["type"]: c["status"] for c in status.get("conditions", ())}
            if said.get("Verified") == "True":
                verified.add(write.name)
        if write.kind != "AgentDeployment":
            continue
        for role in ("stable", "candidate"):
            name = status.get(role, {}).get("name")
            if name and name not in verified:
                yield f"{name} is {role}, and was never verified"
        uid, epoch = write.obj["metadata"]["uid"], status.get("epoch", 0)
        acting = status.get("stable", {}).get("name", "")
        last, actor = before.get(uid, (0, ""))
        if epoch < last or (acting != actor and epoch == last):
            yield f"epoch {last} of {actor or 'nobody'} is followed by epoch {epoch} of {acting or 'nobody'}"
        before[uid] = epoch, acting
