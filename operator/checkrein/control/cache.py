"""What the watches have told: the newest known state of every object, as far as it is read, and who owns whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from checkrein.api.names import OWNER_UID
from checkrein.control.slim import slim

Raw = dict[str, Any]


class Key(NamedTuple):
    """One object."""

    kind: str
    namespace: str
    name: str


def key_of(obj: Raw) -> Key:
    """The key of a raw object that knows its kind."""
    return Key(obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


class Cache:
    """Objects by kind, namespace and name, and children by their owner's uid."""

    def __init__(self) -> None:
        self._objects: defaultdict[tuple[str, str], dict[str, Raw]] = defaultdict(dict)
        self._children: defaultdict[str, set[Key]] = defaultdict(set)

    def __len__(self) -> int:
        return sum(map(len, self._objects.values()))

    def put(self, obj: Raw) -> bool:
        """Remember; False where this version is known already, or older than the known one."""
        key = key_of(obj)
        known = self.get(key)
        if known and _is_not_newer(obj, known):
            return False
        self.remove(key)
        self._objects[key.kind, key.namespace][key.name] = slim(obj)
        if owner := obj["metadata"].get("labels", {}).get(OWNER_UID):
            self._children[owner].add(key)
        return True

    def remove(self, key: Key) -> Raw | None:
        """Forget; the object as it was last known."""
        obj = self._objects[key.kind, key.namespace].pop(key.name, None)
        if obj and (owner := obj["metadata"].get("labels", {}).get(OWNER_UID)):
            self._children[owner].discard(key)
            if not self._children[owner]:
                del self._children[owner]
        return obj

    def get(self, key: Key) -> Raw | None:
        """The newest known state."""
        return self._objects[key.kind, key.namespace].get(key.name)

    def knows(self, key: Key, uid: str, version: str) -> bool:
        """Whether this version of the object, or a newer one, is known."""
        known = self.get(key)
        about = {"kind": key.kind, "metadata": {"uid": uid, "resourceVersion": version}}
        return known is not None and _is_not_newer(about, known)

    def in_namespace(self, kind: str, namespace: str) -> list[Raw]:
        """All objects of a kind in a namespace, by name."""
        return [obj for _, obj in sorted(self._objects[kind, namespace].items())]

    def objects(self, kind: str) -> list[Raw]:
        """All objects of a kind. Another thread may ask: it gets what was there at one moment of each namespace."""
        known = list(self._objects.items())
        return [obj for (of, _), objects in known if of == kind for obj in list(objects.values())]

    def children(self, uid: str, kind: str = "") -> list[Raw]:
        """Objects that carry this owner's uid, by key."""
        found = (self.get(key) for key in sorted(self._children.get(uid, ())) if kind in ("", key.kind))
        return [obj for obj in found if obj is not None]

    def keys(self, kind: str) -> Iterator[Key]:
        """Keys of all objects of a kind."""
        for (known_kind, namespace), objects in list(self._objects.items()):
            if known_kind == kind:
                yield from (Key(kind, namespace, name) for name in list(objects))


def _is_not_newer(obj: Raw, known: Raw) -> bool:
    """Of one object (one uid), versions of one API server's store grow; another uid is another object."""
    new, old = obj["metadata"], known["metadata"]
    if new.get("uid") != old.get("uid"):
        return False
    try:
        return int(new["resourceVersion"]) <= int(old["resourceVersion"])
    except (KeyError, ValueError):
        return False
