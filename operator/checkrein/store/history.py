"""Who acted or was refused under a deployment's name, in the store: it outlives the object and its status.

An entry is an object whose key ends in its number. Its oldest version counts, and a number counts as given as long as
any version or delete marker of it is left (see `reservations`): nobody can put other words in its place.
"""

from __future__ import annotations

from contextlib import suppress

from pydantic import ValidationError

from checkrein.api.rollout import HistoryEntry
from checkrein.store import keys
from checkrein.store.client import ListedObject, Store
from checkrein.store.errors import AlreadyExists, StoreRefused, TooLarge
from checkrein.store.reservations import given

ENTRY_LIMIT = 2**20
KNOWN_LIMIT = 10_000


class History:
    """Appends and reads. What was read once is known: an entry's oldest version never changes. Raises StoreError."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[str, str | None], HistoryEntry | None] = {}

    def append(self, cluster: str, namespace: str, name: str, entry: HistoryEntry) -> int:
        """The entry's number, from 1. The same entry (see `identity`) gets its own again."""
        prefix = keys.history_prefix(cluster, namespace, name)
        numbers = given(self._store, prefix)
        for number, first in numbers.items():
            if _is_same(self._entry(first), entry):
                return number
        return self._claim_next(prefix, max(numbers, default=0) + 1, entry)

    def read(self, cluster: str, namespace: str, name: str) -> tuple[HistoryEntry, ...]:
        """All entries, the oldest first. Raises StoreRefused where one is none: it may be what forbids a version."""
        prefix = keys.history_prefix(cluster, namespace, name)
        found = []
        for number, first in sorted(given(self._store, prefix).items()):
            entry = self._entry(first)
            if entry is None:
                raise StoreRefused(
                    f"{first.key} in bucket {self._store.location.bucket!r} is no entry of a history that this release "
                    "can read: who was refused there is not known, so no version acts; use the release that wrote it"
                )
            found.append(entry.model_copy(update={"seq": number}))
        return tuple(found)

    def _claim_next(self, prefix: str, number: int, entry: HistoryEntry) -> int:
        """As `reservations._claim_next`: another may take the number meanwhile, or may have hidden that it is taken."""
        while True:
            whole = entry.model_copy(update={"seq": number, "stored": True})
            with suppress(AlreadyExists):
                data = whole.model_dump_json(by_alias=True, exclude_none=True).encode()
                self._store.put(f"{prefix}{number}", data, if_absent=True)
            first = given(self._store, prefix, str(number)).get(number)
            if first and _is_same(self._entry(first), entry):
                return number
            number += 1

    def _entry(self, version: ListedObject) -> HistoryEntry | None:
        """What stands there; None where it is no entry, or gone after the retention's end."""
        name = (version.key, version.version_id)
        if name not in self._known:
            if len(self._known) >= KNOWN_LIMIT:
                self._known.clear()
            self._known[name] = self._load(version)
        return self._known[name]

    def _load(self, version: ListedObject) -> HistoryEntry | None:
        if version.is_delete_marker:
            return None
        try:
            data = self._store.read_unverified(version.key, ENTRY_LIMIT, version.version_id)
            return HistoryEntry.model_validate_json(data)
        except (ValidationError, TooLarge):
            return None


def _is_same(known: HistoryEntry | None, entry: HistoryEntry) -> bool:
    return known is not None and identity(known) == identity(entry)


def identity(entry: HistoryEntry) -> tuple[object, ...]:
    """What tells an entry from others: the epoch that it began, which a crash may have it tell again later, or when."""
    if entry.epoch is not None:
        return entry.policy, entry.digest, entry.epoch
    return entry.policy, entry.digest, entry.event, entry.time
