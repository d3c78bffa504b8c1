"""Recordings of evaluations: written by the evaluator to its run, kept beside policies, read back within bounds."""

from __future__ import annotations

import gzip
import zlib

from pydantic import ValidationError

from checkrein.api.meta import FileReference, bounded
from checkrein.api.policy import KeptRecording
from checkrein.api.recording import Recording
from checkrein.store import keys
from checkrein.store.client import Store
from checkrein.store.errors import InvalidArtifact, TooLarge

PACKED_LIMIT = 8 * 2**20
WHOLE_LIMIT = 32 * 2**20
_GZIP = 16 + zlib.MAX_WBITS


def pack(recording: Recording) -> bytes:
    """The same recording is always the same bytes. Raises TooLarge."""
    data = gzip.compress(recording.model_dump_json(by_alias=True, exclude_none=True).encode(), mtime=0)
    if len(data) > PACKED_LIMIT:
        raise TooLarge(f"the recording takes {len(data)} bytes, more than {PACKED_LIMIT}")
    return data


def unpack(data: bytes) -> Recording:
    """Somebody else's bytes: never more than WHOLE_LIMIT are unpacked. Raises InvalidArtifact, TooLarge."""
    unpacking = zlib.decompressobj(_GZIP)
    try:
        whole = unpacking.decompress(data, WHOLE_LIMIT + 1)
        if len(whole) > WHOLE_LIMIT:
            raise TooLarge(f"the recording unpacks to more than {WHOLE_LIMIT} bytes")
        return Recording.model_validate_json(whole)
    except (zlib.error, ValidationError) as error:
        raise InvalidArtifact(f"the recording is malformed: {bounded(str(error), 300)}") from error


def publish(runs: Store, policies: Store, written: FileReference) -> KeptRecording:
    """Copies what an evaluator wrote to where it can no longer be changed; the same bytes give the same answer."""
    data = runs.get(written.key, digest=written.digest, limit=PACKED_LIMIT)
    unpack(data)
    stored = policies.put_content("", data)
    if stored.version_id is None:
        raise InvalidArtifact(f"{stored.key} has no version id: the policies bucket must keep versions")
    return KeptRecording(key=stored.key, version_id=stored.version_id, digest=stored.digest, size=stored.size)


def load(policies: Store, kept: KeptRecording) -> Recording:
    """Verified by digest. Raises InvalidArtifact, DigestMismatch, NotFound, TooLarge."""
    if kept.key != keys.content(kept.digest):
        raise InvalidArtifact(f"recording.key is {kept.key!r}, but its digest says {keys.content(kept.digest)!r}")
    return unpack(policies.get(kept.key, digest=kept.digest, version_id=kept.version_id, limit=PACKED_LIMIT))
