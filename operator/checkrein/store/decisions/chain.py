"""The hash chain over a stream's records, and the Merkle tree over a segment's.

A line is `{"seq":N,"hash":"...","record":{...}}`. Its hash covers the hash before it, its number and the record's own
bytes, as they stand: nothing has to be spelt anew to be verified, and a line has exactly one spelling.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

# Each use of the hash has a prefix of its own; those of the tree are RFC 6962's (section 2.1).
LEAF, NODE, LINK = b"\x00", b"\x01", b"\x02"
GENESIS = b"checkrein decision log v1\x00"
EMPTY_ROOT = sha256().digest()


class ChainError(ValueError):
    """A line that is not what the chain says must stand there."""


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a segment."""

    seq: int
    hash: str
    record: msgspec.Raw


_decode = msgspec.json.Decoder(Line).decode


def genesis(stream: str) -> bytes:
    """The hash before a stream's first record: records cannot move from one stream to another."""
    return sha256(GENESIS + stream.encode()).digest()


def link(previous: bytes, seq: int, record: bytes) -> bytes:
    """The hash of a record that follows `previous`."""
    return sha256(LINK + previous + seq.to_bytes(8, "big") + record).digest()


def spell(seq: int, digest: str, record: bytes) -> bytes:
    """The line, without its end."""
    return b'{"seq":%d,"hash":"%s","record":%s}' % (seq, digest.encode(), record)


class Chain:
    """Where a chain stands: the last record's number and hash."""

    def __init__(self, seq: int, head: bytes) -> None:
        self.seq = seq
        self.head = head

    @classmethod
    def start(cls, stream: str) -> Chain:
        """Before a stream's first record."""
        return cls(0, genesis(stream))

    def extend(self, record: bytes) -> bytes:
        """The next record's line, with its end."""
        self.seq += 1
        self.head = link(self.head, self.seq, record)
        return spell(self.seq, self.head.hex(), record) + b"\n"

    def accept(self, line: bytes) -> bytes:
        """The record in the next line (without its end). Raises ChainError; then the chain stays where it was."""
        try:
            parsed = _decode(line)
        except msgspec.MsgspecError as error:
            raise ChainError(f"record {self.seq + 1} is unreadable: {error}") from error
        record = bytes(parsed.record)
        if parsed.seq != self.seq + 1:
            raise ChainError(f"record {parsed.seq} stands where record {self.seq + 1} must follow")
        digest = link(self.head, parsed.seq, record)
        if spell(parsed.seq, digest.hex(), record) != line:
            raise ChainError(f"record {parsed.seq} was changed: its hash does not follow from its bytes and the chain")
        self.seq, self.head = parsed.seq, digest
        return record


class MerkleTree:
    """RFC 6962's tree over hashes, grown one leaf at a time: 64 hashes are kept at most."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, digest: bytes) -> None:
        """Add a record's hash."""
        node, size = sha256(LEAF + digest).digest(), self.size
        while size & 1:
            node = sha256(NODE + self._peaks.pop() + node).digest()
            size >>= 1
        self._peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The hash of all leaves, in their order."""
        if not self._peaks:
            return EMPTY_ROOT
        *rest, node = self._peaks
        for left in reversed(rest):
            node = sha256(NODE + left + node).digest()
        return node
