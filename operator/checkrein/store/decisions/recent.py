"""What was logged since some moment, without the whole log: for the operator, which looks again and again.

Each segment is proved in itself: its records follow each other and bear out its header. That no segment is missing
between two is what `verify` proves; here a hole shows as an episode that is not whole.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from checkrein.store.client import ListedObject, Store
from checkrein.store.decisions import layout, records, segments
from checkrein.store.decisions.chain import ChainError
from checkrein.store.decisions.records import Record
from checkrein.store.decisions.segments import STORED_LIMIT, SegmentError

LATE = 60.0
"""Seconds by which the store's clock may be behind a replica's."""


def records_since(store: Store, prefix: str, since: float) -> Iterator[Record]:
    """Records of the segments that came to the store after `since` (seconds since the epoch), in about the order in
    which they came. Some are older; kinds that this release does not know are passed over. What is no segment counts
    as lost. Raises StoreError."""
    for found in _segments(store, prefix, since - LATE):
        data = store.read_unverified(found.key, STORED_LIMIT, found.version_id)
        try:
            header, lines = segments.unpack(data)
            proved = list(segments.verified(header, lines, segments.resumed(header)))
        except (SegmentError, ChainError):
            continue
        for line in proved:
            try:
                yield records.decode(line)
            except msgspec.MsgspecError:
                continue


def _segments(store: Store, prefix: str, since: float) -> list[ListedObject]:
    """The first version of each: the latest can be made to lie."""
    first: dict[str, ListedObject] = {}
    for version in store.versions(prefix):
        place = layout.place(version.key)
        if place is not None and place.kind == "segment" and not version.is_delete_marker:
            first.setdefault(version.key, version)
    # What came before that moment is of episodes that had begun before it.
    kept = [f for f in first.values() if f.last_modified is None or f.last_modified.timestamp() >= since]
    return sorted(kept, key=lambda f: (f.last_modified.timestamp() if f.last_modified else 0.0, f.key))
