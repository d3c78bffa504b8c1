"""A segment: some of a stream's records in one object, gzip'd JSON Lines whose first line is a header."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from checkrein.store.decisions.chain import Chain, ChainError, MerkleTree

FORMAT = "checkrein.dev/decisions/v1"
COMPRESSION = 1  # a second of decisions must not cost them milliseconds
STORED_LIMIT = 2**28
CONTENT_LIMIT = 2**28  # a reader holds one segment at a time
GZIP_BITS = 31  # zlib's word for a gzip header around the largest window
_GZIP = bytes((0x1F, 0x8B, 8, 0, 0, 0, 0, 0))  # deflate, no name, no time


class SegmentError(ValueError):
    """Bytes that are no segment, or whose records do not bear out their header."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment holds: records `first` to `last`, between the chain's hashes `previous` and `head`."""

    format: str = FORMAT
    stream: str
    agent_id: str
    first: int
    last: int
    count: int
    previous: str
    head: str
    merkle_root: str
    since: str  # time of the first record
    until: str  # time of the last


class _Stamp(msgspec.Struct):
    timestamp: str = ""


class _Stamped(msgspec.Struct):
    record: _Stamp


_stamp = msgspec.json.Decoder(_Stamped).decode


def stamp(line: bytes) -> str:
    """Time of a line's record."""
    return _stamp(line).record.timestamp


def pack(header: Header, lines: Iterable[bytes]) -> bytes:
    """The object's bytes: the same for the same records, so that storing twice is storing once.

    `lines` are the records' lines, cut anywhere: no more than a piece is worked on at once.
    """
    packer = zlib.compressobj(COMPRESSION, wbits=GZIP_BITS)
    pieces = [packer.compress(piece) for piece in itertools.chain([msgspec.json.encode(header) + b"\n"], lines)]
    return b"".join((*pieces, packer.flush()))


def unpack(data: bytes) -> tuple[Header, list[bytes]]:
    """Header and lines, without their ends. Raises SegmentError."""
    content = _decompress(data)
    if not content.endswith(b"\n"):
        raise SegmentError("is truncated: its last line has no end")
    first, *lines = content[:-1].split(b"\n")
    try:
        header = msgspec.json.decode(first, type=Header)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SegmentError(f"has an unreadable header: {error}") from error
    if header.format != FORMAT or msgspec.json.encode(header) != first:
        raise SegmentError(f"has a header that is not spelt as {FORMAT}")
    return header, lines


def verified(header: Header, lines: Sequence[bytes], chain: Chain) -> Iterator[bytes]:
    """Each record, once it is proved to follow. `chain` moves along. Raises SegmentError, ChainError."""
    if header.previous != chain.head.hex() or header.first != chain.seq + 1:
        raise SegmentError(f"does not follow record {chain.seq}: the chain is broken before it")
    tree = MerkleTree()
    for line in lines:
        yield chain.accept(line)
        tree.append(chain.head)
    found = (chain.seq, len(lines), chain.head.hex(), tree.root().hex())
    if found != (header.last, header.count, header.head, header.merkle_root):
        raise SegmentError(
            f"has {len(lines)} records up to {chain.seq}, its header says {header.count} up to {header.last}, "
            "with another head or Merkle root"
        )


def resumed(header: Header) -> Chain:
    """The chain as the header says it stood before: to go on after a break."""
    try:
        return Chain(header.first - 1, bytes.fromhex(header.previous))
    except ValueError as error:
        raise SegmentError(f"has a header whose previous hash is unreadable: {error}") from error


def _decompress(data: bytes) -> bytes:
    if not data.startswith(_GZIP):
        raise SegmentError("does not begin as a segment does")
    unpacker = zlib.decompressobj(wbits=GZIP_BITS)
    try:
        content = unpacker.decompress(data, CONTENT_LIMIT)
    except zlib.error as error:
        raise SegmentError(f"cannot be decompressed: {error}") from error
    if unpacker.unconsumed_tail:
        raise SegmentError(f"holds more than {CONTENT_LIMIT} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise SegmentError("is truncated" if not unpacker.eof else "has bytes after its end")
    return content


__all__ = ["ChainError", "Header", "SegmentError", "pack", "resumed", "stamp", "unpack", "verified"]
