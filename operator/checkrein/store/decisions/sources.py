"""Where a log is read from: the store, or a copy of it in a directory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from checkrein.api.digests import sha256
from checkrein.store.client import ListedObject, Store
from checkrein.store.decisions import layout
from checkrein.store.decisions.segments import STORED_LIMIT
from checkrein.store.errors import NotFound

INDEX = "index.json"


class SourceError(Exception):
    """An object that cannot be read, with the reason as a sentence."""


@dataclass(frozen=True)
class Oddity:
    """A sign that somebody wrote where nobody should. `harmless`: what was written first is there all the same."""

    key: str
    message: str
    harmless: bool


class Source(Protocol):
    """Objects by key, each one's first version. `taken`: as of when (RFC 3339), None where nobody knows."""

    taken: str | None

    def listing(self) -> list[str]:
        """All of them, in order. Raises StoreError."""

    def read(self, key: str) -> bytes:
        """Raises SourceError; StoreError where the store itself fails."""

    def oddities(self) -> Iterator[Oddity]:
        """What is not as the log's writers leave it."""


class StoreSource:
    """Below a prefix of a bucket. Of each key the oldest version counts: the latest can be made to lie."""

    def __init__(self, store: Store, prefix: str, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store = store
        # Before the listing: what is written while it is read cannot be missed by it.
        self.taken: str | None = now().isoformat()
        self._versions: Mapping[str, list[ListedObject]] = _by_key(store, prefix)

    def listing(self) -> list[str]:
        """All of them, those behind delete markers too."""
        return sorted(key for key, found in self._versions.items() if any(not v.is_delete_marker for v in found))

    def read(self, key: str) -> bytes:
        """The oldest version."""
        first = next((v for v in self._versions.get(key, []) if not v.is_delete_marker), None)
        if first is None:
            raise SourceError("is not there")
        try:
            return self._store.read_unverified(key, STORED_LIMIT, first.version_id)
        except NotFound as error:
            raise SourceError(f"is not there any more: {error}") from error

    def oddities(self) -> Iterator[Oddity]:
        """Later versions and delete markers."""
        for key, found in self._versions.items():
            if any(v.is_delete_marker for v in found):
                yield Oddity(key, "was deleted; the version below the delete marker is read", harmless=True)
            later = sum(not v.is_delete_marker for v in found) - 1
            if later > 0:
                yield Oddity(key, f"was written again ({later} later versions); the oldest is read", harmless=True)


def _by_key(store: Store, prefix: str) -> Mapping[str, list[ListedObject]]:
    found: dict[str, list[ListedObject]] = defaultdict(list)
    for version in store.versions(prefix):
        found[version.key].append(version)
    return found


class Indexed(msgspec.Struct, frozen=True):
    """One object of a copy."""

    digest: str
    size: int


class Index(msgspec.Struct, frozen=True):
    """What a copy held when it was taken. Its own digest, noted elsewhere, vouches for all of it."""

    taken: str
    objects: dict[str, Indexed]


class DirectorySource:
    """A copy of the objects as files below a directory. Where `copy` made it, an index tells what must be there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._index, self._trouble = _read_index(directory / INDEX)
        self.taken = self._index.taken if self._index else None

    def listing(self) -> list[str]:
        """All files but the index."""
        found = (p for p in self._directory.rglob("*") if p.is_file())
        return sorted(key for p in found if (key := p.relative_to(self._directory).as_posix()) != INDEX)

    def read(self, key: str) -> bytes:
        """A file, as the index knows it."""
        try:
            data = (self._directory / key).read_bytes()
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror}") from error
        return data

    def oddities(self) -> Iterator[Oddity]:
        """What differs from the index."""
        if self._trouble:
            yield Oddity(INDEX, self._trouble, harmless=False)
        if self._index is None:
            return
        present = set(self.listing())
        for key, known in self._index.objects.items():
            if key not in present:
                yield Oddity(key, "is in the copy's index, but not in the copy", harmless=False)
            elif sha256(self.read(key)) != known.digest:
                yield Oddity(key, "has other bytes than the copy's index says", harmless=False)
        for key in sorted(present - self._index.objects.keys()):
            yield Oddity(key, "is not in the copy's index", harmless=False)


def _read_index(path: Path) -> tuple[Index | None, str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Index), ""
    except FileNotFoundError:
        return None, ""
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        return None, f"is unreadable: {error}"


@dataclass(frozen=True)
class Copied:
    """A copy that was taken: note the index's digest where nobody can change it."""

    objects: int
    index_digest: str


def copy(source: StoreSource, directory: Path) -> Copied:
    """Writes every object's first version below `directory`, and the index last. Raises StoreError, OSError."""
    objects: dict[str, Indexed] = {}
    for key in source.listing():
        if layout.place(key) is None or ".." in key.split("/"):
            continue
        data = source.read(key)
        target = directory / key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        objects[key] = Indexed(sha256(data), len(data))
    index = msgspec.json.encode(Index(source.taken or "", objects))
    (directory / INDEX).write_bytes(index)
    return Copied(len(objects), sha256(index))
