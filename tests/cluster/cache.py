"""Slow products, kept outside the checkout under the digest of what they are made from."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def folder(*parts: str) -> Path:
    """A folder below CHECKREIN_CACHE (default: ~/.cache/checkrein), created."""
    path = Path(os.environ.get("CHECKREIN_CACHE") or Path.home() / ".cache" / "checkrein").joinpath(*parts)
    path.mkdir(parents=True, exist_ok=True)
    return path


def digest(parts: Iterable[bytes | Path]) -> str:
    """Twelve hex digits over the parts' bytes and the names of files, in order."""
    total = hashlib.sha256()
    for part in parts:
        name, data = (b"", part) if isinstance(part, bytes) else (part.name.encode(), part.read_bytes())
        total.update(b"%d %s %d\n" % (len(name), name, len(data)) + data)
    return total.hexdigest()[:12]


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Holds a lock among all processes that share the cache; the kernel frees it when the holder dies."""
    with (folder("locks") / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
