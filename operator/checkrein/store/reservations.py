"""Numbers that are given out once: versions of a policy's name, evaluations of it in one environment.

A reservation is an object whose key ends in the number and whose bytes are its owner. Its oldest version counts, and
a number counts as given as long as any version or delete marker of it is left: deleting objects resets nothing.
"""

from __future__ import annotations

import re
from contextlib import suppress

from checkrein.store import keys
from checkrein.store.client import ListedObject, Store
from checkrein.store.errors import AlreadyExists

OWNER_LIMIT = 1024
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


def reserve_version(store: Store, cluster: str, namespace: str, policy: str, owner: str) -> int:
    """The next version number of a policy's name (1, 2, ...); the same owner is given its own number again."""
    return _reserve(store, keys.versions_prefix(cluster, namespace, policy), owner)


def reserve_evaluation(
    store: Store, cluster: str, namespace: str, policy: str, environment_digest: str, owner: str
) -> int:
    """The number k >= 1 of an evaluation of a policy's name in an environment; the same owner is given its k again."""
    return _reserve(store, keys.evaluations_prefix(cluster, namespace, policy, environment_digest), owner)


def _reserve(store: Store, prefix: str, owner: str) -> int:
    claim = owner.encode()
    if not 0 < len(claim) <= OWNER_LIMIT:
        raise ValueError(f"owner must have 1 to {OWNER_LIMIT} bytes, has {len(claim)}")
    numbers = given(store, prefix)
    for number, first in numbers.items():
        if _is_held_by(store, first, claim):
            return number
    return _claim_next(store, prefix, max(numbers, default=0) + 1, claim)


def _claim_next(store: Store, prefix: str, number: int, claim: bytes) -> int:
    """Tries one number after the other until one's oldest version is ours.

    Asked even after a write that succeeded: behind a fresh delete marker it succeeds on a number that is taken.
    """
    while True:
        with suppress(AlreadyExists):  # perhaps because of our own write, whose answer was lost
            store.put(f"{prefix}{number}", claim, if_absent=True)
        first = given(store, prefix, str(number)).get(number)
        if first and _is_held_by(store, first, claim):
            return number
        number += 1


def given(store: Store, prefix: str, start: str = "") -> dict[int, ListedObject]:
    """What is left of each number's first version (a delete marker, if only that is left), by number.

    Of the numbers below `prefix` that begin with `start`.
    """
    first: dict[int, ListedObject] = {}
    for version in store.versions(prefix + start):
        name = version.key.removeprefix(prefix)
        if _NUMBER.fullmatch(name) and (int(name) not in first or first[int(name)].is_delete_marker):
            first[int(name)] = version
    return first


def _is_held_by(store: Store, version: ListedObject, claim: bytes) -> bool:
    if version.is_delete_marker or version.size != len(claim):
        return False
    return store.read_unverified(version.key, version.size, version.version_id) == claim
