"""People with roles, and waiting for what they may: the API server learns of policies, and of what they look at, a
moment after they exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tests.api.server import Refused
from tests.cluster.controlplane import ControlPlane
from tests.cluster.steps import ClusterError, wait_until

SECONDS = 180


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


def until_allowed(request: Callable[[], object]) -> None:
    """Repeats the request until it is allowed. Raises ClusterError if it never is."""

    def is_allowed() -> bool:
        try:
            request()
        except Refused:
            return False
        return True

    wait_until(is_allowed, SECONDS, otherwise=lambda: ClusterError("the request stays refused"))


def bind(installed: ControlPlane, namespace: str, roles: Iterable[tuple[str, str]]) -> None:
    """A new namespace in which each of these users has a ClusterRole."""
    installed.kubectl("create", "namespace", namespace)
    for user, role in roles:
        binding = ("rolebinding", f"{user}-{role}", f"--clusterrole={role}", f"--user={user}")
        installed.kubectl("-n", namespace, "create", *binding)
