"""The keys of episode tokens over time: one more each day, and none dropped while an episode may still need it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from itertools import pairwise

from checkrein.api.tasks import TOKEN_KEY_SETTLES

LONGEST_EPISODE = timedelta(hours=168)
MARGIN = timedelta(hours=1)
"""For clocks that differ, and for tokens of episodes that ended just now."""


def made(name: str) -> int:
    """When a key was made, by its name: Unix time; what has another name is older than all that have one."""
    return int(name) if name.isdecimal() else 0


def is_due(names: Iterable[str], now: float, rotate_seconds: float) -> bool:
    """Whether one more key should be made. A key from the future (a clock was set back) is as good as a new one."""
    return now - max(map(made, names), default=0) >= rotate_seconds


def outlived(names: Iterable[str], now: float) -> list[str]:
    """Keys that no episode needs: the next one has been in use for longer than the longest episode lasts."""
    ordered = sorted(names, key=made)
    long_ago = now - (LONGEST_EPISODE + MARGIN).total_seconds() - TOKEN_KEY_SETTLES
    return [name for name, following in pairwise(ordered) if made(following) < long_ago]
