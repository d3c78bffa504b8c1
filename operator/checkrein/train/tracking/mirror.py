"""A folder of this pod, kept in the runs bucket as well: it outlives the pod, and a later attempt goes on with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from checkrein.store import keys
from checkrein.store.client import Store

SECONDS_BETWEEN = 30.0
SHARE = 20  # of the time since the last upload, uploading takes no more than one in so many
MOST_BYTES = 2**28


class Mirror:
    """`folder` as it lies below the attempt's own prefix, in `kind`/. Raises StoreError."""

    def __init__(self, store: Store, kind: str, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._kind, self._folder, self._clock = store, kind, folder, clock
        self._sent: dict[Path, tuple[int, int]] = {}
        self._next = 0.0

    def fetch(self) -> None:
        """Bring what earlier attempts wrote, so that the newest attempt's copy is the whole run."""
        for listed in self._store.list(self._store.location.read_prefix):
            path = keys.tracked(listed.key, self._kind)
            if path and not (target := self._folder / path).exists():
                data = self._store.read_unverified(listed.key, MOST_BYTES)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)

    def push(self, *, now: bool) -> None:
        """Upload what has changed: soon, or `now`."""
        started = self._clock()
        if not now and started < self._next:
            return
        prefix = keys.tracking_prefix(self._store.location.write_prefix, self._kind)
        for path in sorted(p for p in self._folder.rglob("*") if p.is_file() and not p.is_symlink()):
            state = path.stat()
            seen = state.st_size, state.st_mtime_ns
            if self._sent.get(path) != seen:
                self._store.put(prefix + path.relative_to(self._folder).as_posix(), path.read_bytes())
                self._sent[path] = seen
        ended = self._clock()
        self._next = ended + max(SECONDS_BETWEEN, SHARE * (ended - started))
