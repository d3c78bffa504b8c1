"""What lies where, below `decisions/CLUSTER/NAMESPACE/UID/` of one AgentDeployment.

registry/STREAM/opened.json      a stream exists, and which one its folder held before
registry/STREAM/closed.json      where it ended, once it did
STREAM/segments/FIRST.jsonl.gz   its records from number FIRST on
STREAM/anchors/SEQ.json          its head at record SEQ, every few seconds

STREAM is POD.POD-UID.BOOT-NONCE: every start of a replica's process writes a stream of its own. A replica may create
objects here and nothing else: it reads, lists and deletes none, so it could not see that a name is taken. Hence the
nonce: a folder that was lost with its count of boots must not make two streams one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["opened", "closed", "segment", "anchor"]
REGISTRY = "registry"
NUMBER = "012d"
_STREAM = re.compile(r".+\.(?P<boot>[0-9]{1,12})-[0-9a-f]+")
_REGISTERED = re.compile(rf"(?P<root>(?:.*/)?){REGISTRY}/(?P<stream>[^/]+)/(?P<kind>opened|closed)\.json")
_SEGMENT = re.compile(r"(?P<root>(?:.*/)?)(?P<stream>[^/]+)/segments/(?P<number>[0-9]{12})\.jsonl\.gz")
_ANCHOR = re.compile(r"(?P<root>(?:.*/)?)(?P<stream>[^/]+)/anchors/(?P<number>[0-9]{12})\.json")


@dataclass(frozen=True)
class Place:
    """What a key holds. `root` is the AgentDeployment's prefix, `number` a segment's first or an anchor's record."""

    root: str
    stream: str
    kind: Kind
    number: int = 0


def stream_name(pod: str, pod_uid: str, boot: int, nonce: str) -> str:
    """`nonce` is a random hexadecimal number. Raises ValueError where a part cannot stand in a key."""
    for part in (pod, pod_uid):
        if not re.fullmatch(r"[A-Za-z0-9._-]+", part) or part.strip(".") != part:
            raise ValueError(f"{part!r} cannot be part of a stream's name: it needs letters, digits, '-', '_', '.'")
    return f"{pod}.{pod_uid}.{boot}-{nonce}"


def boot_of(stream: str) -> int | None:
    """A stream's boot; None for what is no stream's name."""
    found = _STREAM.fullmatch(stream)
    return int(found["boot"]) if found else None


def opened(stream: str) -> str:
    """Key of a stream's registration, below the AgentDeployment's prefix. So are the keys below."""
    return f"{REGISTRY}/{stream}/opened.json"


def closed(stream: str) -> str:
    """Key of a stream's end."""
    return f"{REGISTRY}/{stream}/closed.json"


def segment(stream: str, first: int) -> str:
    """Key of the segment that begins with record `first`."""
    return f"{stream}/segments/{first:{NUMBER}}.jsonl.gz"


def anchor(stream: str, seq: int) -> str:
    """Key of the anchor at record `seq`."""
    return f"{stream}/anchors/{seq:{NUMBER}}.json"


def place(key: str) -> Place | None:
    """What lies at a key; None for what is no part of a log."""
    if found := _REGISTERED.fullmatch(key):
        return Place(found["root"], found["stream"], "opened" if found["kind"] == "opened" else "closed")
    if found := _SEGMENT.fullmatch(key):
        return Place(found["root"], found["stream"], "segment", int(found["number"]))
    if found := _ANCHOR.fullmatch(key):
        return Place(found["root"], found["stream"], "anchor", int(found["number"]))
    return None
