"""What of an object is worth its memory: no field that no planner reads, and one copy of each word that many say.

client-go calls this a transform; it is applied as objects enter the cache, to copies.
"""

from __future__ import annotations

import sys
from typing import Any

Raw = dict[str, Any]
WORD = 64  # characters: longer text is seldom said twice
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# Of children that are watched for being there, for their owner, their labels and how they end. Whoever comes to read
# one of these in `children.py` or a planner takes it from this list.
UNREAD: dict[str, tuple[tuple[str, ...], ...]] = {
    "Pod": (("spec", "initContainers"), ("spec", "volumes"), ("metadata", "annotations")),
    "Job": (("spec", "template"), ("metadata", "annotations")),
    "StatefulSet": (("spec", "template"), ("spec", "volumeClaimTemplates")),
    "Service": (("spec",),),
    "Role": (("rules",),),
    "RoleBinding": (("subjects",), ("roleRef",)),
}
ALWAYS = (("metadata", "managedFields"), ("metadata", "annotations", LAST_APPLIED))


def slim(obj: Raw) -> Raw:
    """A copy without what nobody reads."""
    kept = _without(obj, [*ALWAYS, *UNREAD.get(obj["kind"], ())])
    if obj["kind"] == "Pod" and "containers" in kept.get("spec", {}):
        kept["spec"]["containers"] = [_named(container) for container in kept["spec"]["containers"]]
    return kept


def _named(container: Raw) -> Raw:
    """Of a container its limits are told to people; it is a new object, so that the whole one can go."""
    return {key: container[key] for key in ("name", "resources") if key in container}


def _without(value: Raw, paths: list[tuple[str, ...]]) -> Raw:
    kept = {}
    for key, member in value.items():
        below = [path[1:] for path in paths if path[0] == key]
        if () in below:
            continue
        kept[sys.intern(key)] = _without(member, below) if below and isinstance(member, dict) else _shared(member)
    return kept


def _shared(value: Any) -> Any:
    if isinstance(value, str):
        return sys.intern(value) if len(value) <= WORD else value
    if isinstance(value, dict):
        return {sys.intern(key): _shared(member) for key, member in value.items()}
    return [_shared(member) for member in value] if isinstance(value, list) else value
