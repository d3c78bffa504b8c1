"""Recordings from the evaluator to who looks at them: the same bytes, and no more than a reader wants to hold."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from tests.store.conftest import JOB

from checkrein.api.meta import FileReference
from checkrein.api.recording import Episode, Recording
from checkrein.store import recordings
from checkrein.store.client import Store
from checkrein.store.errors import DigestMismatch, InvalidArtifact, NotFound, StoreError, TooLarge

GIF = b"GIF89a\x00\xff"
RECORDING = Recording(
    returns=[1.5, 2.0],
    frames=GIF,
    episodes=[Episode(choice="best", name="1", total=2.0, actions=[[1.0], [0.0]], rewards=[1.0, None], ending="open")],
)
KEY = f"{JOB}1/evaluate/recording.json.gz"


def written(runs: Store, data: bytes) -> FileReference:
    stored = runs.put(KEY, data)
    return FileReference(key=stored.key, digest=stored.digest, size=stored.size)


@pytest.mark.store
def test_what_is_published_is_read_back(runs: Store, policies: Store) -> None:
    reference = written(runs, recordings.pack(RECORDING))
    kept = recordings.publish(runs, policies, reference)
    assert recordings.publish(runs, policies, reference) == kept, "once more is the same object"
    assert recordings.load(policies, kept) == RECORDING
    runs.delete(KEY)
    assert recordings.load(policies, kept).frames == GIF


@pytest.mark.store
def test_later_bytes_at_the_same_key_are_not_believed(runs: Store, policies: Store) -> None:
    kept = recordings.publish(runs, policies, written(runs, recordings.pack(RECORDING)))
    other = policies.put(kept.key, recordings.pack(Recording()))
    assert recordings.load(policies, kept) == RECORDING
    with pytest.raises(DigestMismatch):
        recordings.load(policies, kept.model_copy(update={"version_id": other.version_id}))
    with pytest.raises(InvalidArtifact, match=r"recording\.key"):
        recordings.load(policies, kept.model_copy(update={"key": "sha256/aa/aa"}))


@pytest.mark.store
@pytest.mark.parametrize(
    ("change", "error"),
    [
        pytest.param({"digest": f"sha256:{'0' * 64}"}, DigestMismatch, id="changed since it was reported"),
        pytest.param({"key": f"{JOB}nothing"}, NotFound, id="gone"),
    ],
)
def test_what_was_not_reported_is_not_published(
    runs: Store, policies: Store, change: dict[str, Any], error: type[StoreError]
) -> None:
    reference = written(runs, recordings.pack(RECORDING)).model_copy(update=change)
    with pytest.raises(error):
        recordings.publish(runs, policies, reference)
    assert policies.list("") == []


@pytest.mark.store
def test_what_no_reader_could_read_is_not_published(runs: Store, policies: Store) -> None:
    with pytest.raises(InvalidArtifact):
        recordings.publish(runs, policies, written(runs, b"no recording"))
    assert policies.list("") == []


def packed(**fields: Any) -> bytes:
    return gzip.compress(json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("data", "error"),
    [
        pytest.param(gzip.compress(bytes(200 * 2**20)), TooLarge, id="a bomb"),
        pytest.param(b"", InvalidArtifact, id="nothing"),
        pytest.param(b"GIF89a", InvalidArtifact, id="not packed"),
        pytest.param(recordings.pack(RECORDING)[:-20], InvalidArtifact, id="cut off"),
        pytest.param(packed(returns=["much"]), InvalidArtifact, id="no numbers"),
        pytest.param(packed(returns=[1e999]), InvalidArtifact, id="infinite"),
        pytest.param(packed(returns=[0] * 100_001), InvalidArtifact, id="more than anybody plays"),
        pytest.param(packed(schemaVersion="checkrein.dev/recording/v9"), InvalidArtifact, id="of another format"),
        pytest.param(
            packed(saliency=[{"of": "v", "steps": 1, "inputs": [{"labels": ["a"], "gradients": [], "spreads": [1]}]}]),
            InvalidArtifact,
            id="lists that do not fit each other",
        ),
    ],
)
def test_what_does_not_keep_to_the_bounds_is_refused(data: bytes, error: type[StoreError]) -> None:
    with pytest.raises(error):
        recordings.unpack(data)


def test_the_same_recording_is_the_same_bytes() -> None:
    assert recordings.pack(RECORDING) == recordings.pack(Recording.model_validate(RECORDING.model_dump()))


def test_too_large_a_recording_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "PACKED_LIMIT", 100)
    with pytest.raises(TooLarge, match="more than 100"):
        recordings.pack(RECORDING)
