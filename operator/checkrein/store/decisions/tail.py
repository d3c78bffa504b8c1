"""The stored records of one stream from a position on: for a reader who knows what came before."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import msgspec

from checkrein.store.decisions import layout, records, segments
from checkrein.store.decisions.chain import ChainError
from checkrein.store.decisions.records import Record
from checkrein.store.decisions.segments import SegmentError
from checkrein.store.decisions.sources import Source, SourceError


def after(source: Source, stream: str, position: int) -> Iterator[tuple[int, Record | None]]:
    """Records after this one, with their numbers; None for one that this release does not know.

    Each is proved to follow the one before it, from the segment on that holds the first. It ends where the first
    missing segment would begin. Raises SourceError, SegmentError, ChainError; StoreError where the store fails.
    """
    chain = None
    for first, key in _from(source, stream, position):
        if chain is not None and first > chain.seq + 1:
            return
        header, lines = segments.unpack(source.read(key))
        if (header.stream, header.first) != (stream, first):
            raise SegmentError(f"is of {header.stream} from record {header.first} on")
        chain = chain or segments.resumed(header)
        for data in segments.verified(header, lines, chain):
            if chain.seq > position:
                yield chain.seq, _record(data)


def _from(source: Source, stream: str, position: int) -> list[tuple[int, str]]:
    """First records and keys of a stream's segments, without those that end before the position."""
    places = ((layout.place(key), key) for key in source.listing())
    found = sorted((p.number, key) for p, key in places if p and p.kind == "segment" and p.stream == stream)
    passed = sum(following <= position + 1 for (_, _), (following, _) in pairwise(found))
    return found[passed:]


def _record(data: bytes) -> Record | None:
    try:
        record: Record = records.decode(data)
    except msgspec.MsgspecError:
        return None
    return record


__all__ = ["ChainError", "SegmentError", "SourceError", "after"]
