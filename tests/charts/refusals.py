"""Waiting for admission: the API server learns of policies, and of what they look at, a moment after they exist."""

from __future__ import annotations

from collections.abc import Callable

from tests.api.server import Refused
from tests.cluster.steps import ClusterError, wait_until

SECONDS = 30


def refusal(request: Callable[[], object]) -> Refused:
    """The refusal of a request that may be repeated until it is refused. Raises ClusterError if it never is."""
    seen: list[Refused] = []

    def is_refused() -> bool:
        try:
            request()
        except Refused as refused:
            seen.append(refused)
        return bool(seen)

    wait_until(is_refused, SECONDS, otherwise=lambda: ClusterError("the request is not refused"))
    return seen[0]
