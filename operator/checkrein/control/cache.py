"""What the watches have told: each object's newest known state, as far as it is read, and who owns and who names whom.

Whoever tells of an object says at which version, and may do so late and in any order: what is older than what is known
of the name, its absence included, is no news. So the cache never goes back. The versions of a kind are numbers that
grow, from one namesake to the next, too (https://kep.k8s.io/5504).
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from checkrein.api.names import OWNER_UID
from checkrein.control.references import named
from checkrein.control.slim import slim

H = TypeVar("H", bound=Hashable)
Raw = dict[str, Any]
NEVER = -1
ABSENCES = 4096
"""Names that are remembered after their objects are gone, the newest: a watch is late by seconds, not by hours."""


class Key(NamedTuple):
    """One object."""

    kind: str
    namespace: str
    name: str


def key_of(obj: Raw) -> Key:
    """The key of a raw object that knows its kind."""
    return Key(obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


def version_of(obj: Mapping[str, Any]) -> int:
    """At which version an object or a list is told."""
    return int(obj["metadata"].get("resourceVersion") or 0)


class Cache:
    """Objects by kind, namespace and name, children by their owner's uid, and others by whom they name."""

    def __init__(self) -> None:
        self._objects: defaultdict[tuple[str, str], dict[str, Raw]] = defaultdict(dict)
        self._children: defaultdict[str, set[Key]] = defaultdict(set)
        self._naming: defaultdict[Key, set[Key]] = defaultdict(set)
        self._absent: OrderedDict[Key, int] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._objects.values()))

    def put(self, obj: Raw) -> bool:
        """Remember; False where this version of the name, or a newer one, is known already."""
        key = key_of(obj)
        if self.knows(key, version_of(obj)):
            return False
        self._take(key)
        self._absent.pop(key, None)
        kept = self._objects[key.kind, key.namespace][key.name] = slim(obj)
        if owner := kept["metadata"].get("labels", {}).get(OWNER_UID):
            self._children[owner].add(key)
        for kind, name in named(kept):
            self._naming[Key(kind, key.namespace, name)].add(key)
        return True

    def remove(self, key: Key, version: int) -> Raw | None:
        """There is none at this version. The object as it was last known; None where none was, or a newer one is."""
        known = self.get(key)
        if known and version_of(known) > version:
            return None
        self._absent[key] = max(version, self._absent.pop(key, NEVER))
        if len(self._absent) > ABSENCES:
            self._absent.popitem(last=False)
        return self._take(key)

    def _take(self, key: Key) -> Raw | None:
        obj = self._objects[key.kind, key.namespace].pop(key.name, None)
        if obj is None:
            return None
        if owner := obj["metadata"].get("labels", {}).get(OWNER_UID):
            _discard(self._children, owner, key)
        for kind, name in named(obj):
            _discard(self._naming, Key(kind, key.namespace, name), key)
        return obj

    def get(self, key: Key) -> Raw | None:
        """The newest known state."""
        return self._objects[key.kind, key.namespace].get(key.name)

    def knows(self, key: Key, version: int) -> bool:
        """Whether what there was under this name at this version, or later, is known."""
        known = self.get(key)
        return version <= (version_of(known) if known else self._absent.get(key, NEVER))

    def objects(self, kind: str) -> list[Raw]:
        """All objects of a kind. Another thread may ask: it gets what was there at one moment of each namespace."""
        known = list(self._objects.items())
        return [obj for (of, _), objects in known if of == kind for obj in list(objects.values())]

    def children(self, uid: str, kind: str = "") -> list[Raw]:
        """Objects that carry this owner's uid, by key."""
        return self._sorted(self._children.get(uid, ()), kind)

    def naming(self, named: Key, kind: str) -> list[Raw]:
        """Objects of this kind that name this one (`references.py`), by key. It need not exist."""
        return self._sorted(self._naming.get(named, ()), kind)

    def _sorted(self, keys: Iterable[Key], kind: str) -> list[Raw]:
        found = (self.get(key) for key in sorted(keys) if kind in ("", key.kind))
        return [obj for obj in found if obj is not None]

    def keys(self, kind: str) -> Iterator[Key]:
        """Keys of all objects of a kind."""
        for (known_kind, namespace), objects in list(self._objects.items()):
            if known_kind == kind:
                yield from (Key(kind, namespace, name) for name in list(objects))


def _discard(index: dict[H, set[Key]], of: H, key: Key) -> None:
    index[of].discard(key)
    if not index[of]:
        del index[of]
