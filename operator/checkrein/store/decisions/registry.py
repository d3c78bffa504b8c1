"""Small objects beside the segments: a stream's registration, its end, and anchors of its head.

They carry a digest of their own bytes, so that damage is told from contradiction.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from checkrein.api.digests import sha256
from checkrein.store.decisions.records import End

SIZE_LIMIT = 2**20


class RegistryError(ValueError):
    """Bytes that are no such object, or not those that were written."""


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A stream exists: what its first record says, too. `previous`: where the one before it in its folder ended."""

    stream: str
    agent_id: str
    pod: str
    pod_uid: str
    boot: int
    timestamp: str
    previous: End | None = None


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """The chain's head at one record. `segments`: digests of the objects stored since the last anchor, by key."""

    stream: str
    seq: int
    head: str
    timestamp: str
    segments: dict[str, str] = {}


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """The stream's end. `recovered`: the next boot says so. `segments`: as an anchor's."""

    stream: str
    seq: int
    head: str
    timestamp: str
    recovered: bool = False
    segments: dict[str, str] = {}


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    digest: str
    statement: msgspec.Raw


Statement = TypeVar("Statement", Opened, Anchor, Closed)


def wrap(statement: Opened | Anchor | Closed) -> bytes:
    """The object's bytes."""
    body = msgspec.json.encode(statement)
    return _spell(sha256(body), body)


def unwrap(data: bytes, kind: type[Statement]) -> Statement:
    """What the bytes say. Raises RegistryError."""
    try:
        envelope = msgspec.json.decode(data, type=_Envelope)
        body = bytes(envelope.statement)
        statement = msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RegistryError(f"is unreadable: {error}") from error
    if data != _spell(sha256(body), body):
        raise RegistryError("was changed: its digest is not that of its bytes")
    return statement


def _spell(digest: str, body: bytes) -> bytes:
    return b'{"digest":"%s","statement":%s}' % (digest.encode(), body)
