"""The log on the replica's own disk: one folder of files for each stream, until the store has them.

FOLDER/lock                held by the one process that writes here
FOLDER/boot.json           number of the last boot, and where the last stream ended
FOLDER/STREAM/N.open       the segment that is written: a line of its beginnings, then records from number N on
FOLDER/STREAM/N.sealed     a whole one, synced to the disk before it got this name

What was written but not synced is kept in memory and written again after a failure: a kernel that reported one failed
write-back may have thrown the data away, and would call the next try a success.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from checkrein.store.decisions import layout, records
from checkrein.store.decisions.chain import Chain, ChainError, Line, MerkleTree
from checkrein.store.decisions.records import ClosedRecord, End
from checkrein.store.decisions.registry import Opened
from checkrein.store.decisions.segments import Header, stamp

PIECE_BYTES = 32 * 1024  # of a segment that is read, and compressed in 0.2 ms
OPEN, SEALED = ".open", ".sealed"


class Begin(msgspec.Struct, frozen=True):
    """First line of a file: what the segment's header cannot be told from its records."""

    stream: str
    agent_id: str
    first: int
    previous: str


class Boot(msgspec.Struct, frozen=True):
    """The last start of a process in this folder. `end` is that of the last stream that is known to have one."""

    number: int = 0
    end: End | None = None


@dataclass(frozen=True)
class Sealed:
    """A whole file and what its segment's header will say."""

    path: Path
    header: Header
    size: int

    def lines(self) -> Iterator[bytes]:
        """The records, in pieces of the file. Raises OSError."""
        with self.path.open("rb") as file:
            left = self.size - len(file.readline())
            while left > 0 and (piece := file.read(min(PIECE_BYTES, left))):
                left -= len(piece)
                yield piece


def lock(folder: Path) -> int:
    """Makes the folder, and takes it for this process. The descriptor holds it. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    held = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise
    return held


def unlock(held: int) -> None:
    """Lets another take the folder."""
    os.close(held)


def read_boot(folder: Path) -> Boot:
    """What the last boot left. Raises OSError; damage counts as nothing, but no number is given twice."""
    try:
        return msgspec.json.decode((folder / "boot.json").read_bytes(), type=Boot)
    except (FileNotFoundError, msgspec.MsgspecError):
        return Boot(max((layout.boot_of(p.name) or 0 for p in stream_folders(folder)), default=0))


def write_boot(folder: Path, boot: Boot) -> None:
    """Lasting once it returns. Raises OSError."""
    _replace(folder / "boot.json", msgspec.json.encode(boot))


def stream_folders(folder: Path) -> list[Path]:
    """What earlier boots left, the oldest first. Raises OSError."""
    found = ((layout.boot_of(p.name), p) for p in folder.iterdir() if p.is_dir())
    return [p for _, p in sorted((boot, p) for boot, p in found if boot is not None)]


class SegmentFile:
    """The file that is written. Every method but `add` may raise OSError, and may then be called again."""

    def __init__(self, folder: Path, begin: Begin) -> None:
        self._begin = begin
        self._path = folder / f"{begin.first:012d}{OPEN}"
        self._tree = MerkleTree()
        self._unsynced: list[bytes] = [msgspec.json.encode(begin) + b"\n"]
        self._synced = self._written = 0  # bytes
        self._count_written = 0  # of the lines in _unsynced
        self.size = len(self._unsynced[0])
        self._since = self._until = ""
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    @property
    def clean(self) -> bool:
        """Whether all is on the disk."""
        return not self._unsynced

    def add(self, line: bytes, digest: bytes, timestamp: str) -> None:
        """One more record; nothing is written yet."""
        self._unsynced.append(line)
        self._tree.append(digest)
        self._since, self._until = self._since or timestamp, timestamp
        self.size += len(line)

    def write(self) -> None:
        """Hand what is new to the kernel: the process may die now."""
        try:
            data = memoryview(b"".join(self._unsynced[self._count_written :]))
            while data:
                done = os.pwrite(self._fd, data, self._written)
                self._written, data = self._written + done, data[done:]
        except OSError:
            self._rewind()
            raise
        self._count_written = len(self._unsynced)

    def sync(self) -> None:
        """Wait until the disk has it: the machine may die now."""
        try:
            os.fdatasync(self._fd)
        except OSError:
            self._rewind()
            raise
        self._synced = self._written
        del self._unsynced[: self._count_written]
        self._count_written = 0

    def _rewind(self) -> None:
        """All that is not known to be on the disk will be written again."""
        self._written, self._count_written = self._synced, 0

    def seal(self, chain: Chain) -> Sealed:
        """Ends it at the chain's head; everything must be synced. The name is lasting once it returns."""
        path = self._path.with_suffix(SEALED)
        with suppress(FileNotFoundError):  # an earlier try came this far
            os.rename(self._path, path)
        sync_folder(path.parent)
        os.close(self._fd)
        return Sealed(path, self._header(chain), self.size)

    def _header(self, chain: Chain) -> Header:
        return _header(self._begin, chain, self._tree, self._since, self._until)


@dataclass(frozen=True)
class Recovered:
    """What an earlier boot left in one stream: `sealed` is for the store, `end` is where it ended.

    `opened` is the stream's registration, where its first records are left: the store may not have it yet.
    """

    stream: str
    opened: Opened | None
    folder: Path
    sealed: list[Sealed]
    end: End


def recover_all(folder: Path, timestamp: str) -> list[Recovered]:
    """What earlier boots left here, the oldest first. Raises OSError."""
    found = []
    for path in stream_folders(folder):
        if left := recover(path, timestamp):
            found.append(left)
        else:
            forget(path)
    return found


def recover(folder: Path, timestamp: str) -> Recovered | None:
    """Seals what an earlier boot left in one stream; a torn tail is cut off. None where nothing is left of it.

    May be interrupted and repeated anywhere. Raises OSError.
    """
    sealed: list[Sealed] = []
    closed = False
    for path in sorted(folder.glob(f"*{SEALED}")):
        if scanned := _scan(path):
            sealed.append(Sealed(path, scanned.header, scanned.good))
            closed = scanned.closed
    left = sorted(folder.glob(f"*{OPEN}"))
    torn = _scan(left[-1]) if left else None
    if torn:
        sealed.append(_close(left[-1], torn, timestamp))
    elif sealed and not closed:
        cut = sum(p.stat().st_size for p in left)
        sealed.append(_close_after(folder, sealed[-1].header, timestamp, cut))
    for path in left:
        path.unlink(missing_ok=True)
    if not sealed:
        return None
    last = sealed[-1].header
    return Recovered(folder.name, _opened(sealed[0]), folder, sealed, End(folder.name, last.last, last.head))


def _opened(first: Sealed) -> Opened | None:
    if first.header.first != 1:
        return None
    with first.path.open("rb") as file:
        file.readline()  # of the beginnings
        line = msgspec.json.decode(file.readline(), type=Line)
    return msgspec.json.decode(line.record, type=Opened)


@dataclass
class _Scan:
    begin: Begin
    chain: Chain
    tree: MerkleTree
    since: str = ""
    until: str = ""
    good: int = 0  # bytes up to the last whole record
    cut: int = 0  # bytes after it
    closed: bool = False

    @property
    def header(self) -> Header:
        return _header(self.begin, self.chain, self.tree, self.since, self.until)


def _header(begin: Begin, chain: Chain, tree: MerkleTree, since: str, until: str) -> Header:
    return Header(
        stream=begin.stream,
        agent_id=begin.agent_id,
        first=begin.first,
        last=chain.seq,
        count=tree.size,
        previous=begin.previous,
        head=chain.head.hex(),
        merkle_root=tree.root().hex(),
        since=since,
        until=until,
    )


def _scan(path: Path) -> _Scan | None:
    """A file's whole records. None where it has none."""
    data = path.read_bytes()
    first, *lines = data.split(b"\n")
    lines = lines[:-1]  # what follows the last end of a line was torn
    try:
        begin = msgspec.json.decode(first, type=Begin)
        scan = _Scan(begin, Chain(begin.first - 1, bytes.fromhex(begin.previous)), MerkleTree(), good=len(first) + 1)
    except (msgspec.MsgspecError, ValueError):
        return None
    for line in lines:
        try:
            record = scan.chain.accept(line)
        except ChainError:
            break
        scan.tree.append(scan.chain.head)
        scan.good += len(line) + 1
        scan.until = stamp(line)
        scan.since = scan.since or scan.until
        scan.closed = record.startswith(b'{"kind":"closed"')
    scan.cut = len(data) - scan.good
    return scan if scan.tree.size else None


def _close(path: Path, scan: _Scan, timestamp: str) -> Sealed:
    """Cuts what is torn, adds the record that says so, and seals."""
    content = path.read_bytes()[: scan.good]
    if not scan.closed:
        content += _closing(scan, timestamp, scan.cut)
    target = path.with_suffix(SEALED)
    _replace(target, content)
    return Sealed(target, scan.header, len(content))


def _close_after(folder: Path, header: Header, timestamp: str, cut: int) -> Sealed:
    """A file of one record after the last sealed one. `cut`: bytes of a file without a single whole record."""
    begin = Begin(header.stream, header.agent_id, header.last + 1, header.head)
    scan = _Scan(begin, Chain(header.last, bytes.fromhex(header.head)), MerkleTree())
    content = msgspec.json.encode(begin) + b"\n" + _closing(scan, timestamp, cut)
    target = folder / f"{begin.first:012d}{SEALED}"
    _replace(target, content)
    return Sealed(target, scan.header, len(content))


def _closing(scan: _Scan, timestamp: str, cut: int) -> bytes:
    line = scan.chain.extend(records.encode(ClosedRecord(timestamp=timestamp, recovered=True, cut=cut)))
    scan.tree.append(scan.chain.head)
    scan.until = timestamp
    scan.since = scan.since or timestamp
    return line


def _replace(path: Path, data: bytes) -> None:
    """The file has these bytes, or those from before; lasting once it returns."""
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Names in it are lasting once it returns. Raises OSError."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(held)
    finally:
        os.close(held)


def forget(folder: Path) -> None:
    """Removes a stream's folder, whose every record is in the store."""
    shutil.rmtree(folder, ignore_errors=True)
