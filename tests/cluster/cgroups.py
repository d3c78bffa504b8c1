"""One control group of the same name below the root of every controller (version 1), or of the one tree (version 2)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.steps import ClusterError, wait_until


def create(name: str) -> None:
    """Makes it everywhere; what exists stays."""
    for root in roots():
        (root / name).mkdir(exist_ok=True)


def remove(name: str) -> None:
    """Removes it everywhere, with all that is below it. The processes in it must have been killed."""
    wait_until(
        lambda: all(_emptied(root / name) for root in roots()),
        60,
        otherwise=lambda: ClusterError(f"Control group {name} cannot be removed: something still runs in it."),
    )


def _emptied(group: Path) -> bool:
    """Removes the tree as far as it goes; the kernel lets go of killed processes a moment later."""
    if not group.exists():
        return True
    try:
        for folder, _, _ in os.walk(group, topdown=False):
            os.rmdir(folder)
    except OSError:
        return False
    return True


def roots() -> Iterator[Path]:
    """The roots of all controllers."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, folder, kind, *_ = line.split()
        if kind in ("cgroup", "cgroup2"):
            yield Path(folder)
