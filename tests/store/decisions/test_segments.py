"""Segments: bytes that follow from their records alone."""

from __future__ import annotations

import gzip

import msgspec
import pytest

from checkrein.store.decisions import segments
from checkrein.store.decisions.segments import COMPRESSION, Header

LINES = b"".join(b'{"seq":%d,"record":{"kind":"decision"}}\n' % number for number in range(3000))
HEADER = Header(
    stream="pod-0",
    agent_id="games/cartpole",
    first=1,
    last=3000,
    count=3000,
    previous="00",
    head="11",
    merkle_root="22",
    since="2026-12-01T00:00:00Z",
    until="2026-12-01T00:00:01Z",
)


@pytest.mark.parametrize("size", [1, 1000, len(LINES)])
def test_a_segment_is_the_same_however_its_lines_are_cut(size: int) -> None:
    packed = segments.pack(HEADER, (LINES[at : at + size] for at in range(0, len(LINES), size)))
    assert packed == gzip.compress(msgspec.json.encode(HEADER) + b"\n" + LINES, COMPRESSION, mtime=0)
    assert segments.unpack(packed) == (HEADER, LINES[:-1].split(b"\n"))
