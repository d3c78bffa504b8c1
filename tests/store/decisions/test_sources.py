"""The log in a real store under object lock, and copies of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from minio.commonconfig import COMPLIANCE
from minio.objectlockconfig import DAYS, ObjectLockConfig
from tests.cluster.minio import Minio
from tests.store.decisions.writer import ROOT, LogWriter, episode

from checkrein.api.tasks import StoreCredentials, StoreLocation
from checkrein.store.client import Store
from checkrein.store.decisions.sources import INDEX, DirectorySource, StoreSource, copy
from checkrein.store.decisions.verify import Audit
from checkrein.store.errors import StoreError


@pytest.fixture
def store(minio: Minio) -> Store:
    """A bucket as an installation has it: nobody deletes a version before its time."""
    location = StoreLocation(endpoint=minio.endpoint, secure=False, bucket=f"decisions-{secrets.token_hex(4)}")
    owner = StoreCredentials(access_key=minio.access_key, secret_key=minio.secret_key)
    made = Store(location, lambda: owner)
    made.client.make_bucket(location.bucket, object_lock=True)
    made.client.set_object_lock_config(location.bucket, ObjectLockConfig(COMPLIANCE, 1, DAYS))
    return made


@pytest.fixture
def stored(store: Store) -> dict[str, bytes]:
    log = LogWriter()
    log.stream(episode("a", 7))
    for key, data in log.objects.items():
        store.put(key, data, if_absent=True)
    return log.objects


def test_a_stored_log_is_proved(store: Store, stored: dict[str, bytes]) -> None:
    audit = Audit(StoreSource(store, "decisions/")).run()
    assert audit.findings == []
    assert audit.streams[0].records == 9


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        pytest.param(lambda s, key: s.put(key, b"evil"), "was written again", id="written again"),
        pytest.param(lambda s, key: s.delete(key), "was deleted", id="hidden behind a delete marker"),
    ],
)
def test_what_somebody_does_to_a_locked_log_is_told_and_in_vain(
    store: Store, stored: dict[str, bytes], tamper: Callable[[Store, str], object], words: str
) -> None:
    for key in stored:
        tamper(store, key)
    audit = Audit(StoreSource(store, "decisions/")).run()
    assert audit.proved
    assert audit.streams[0].records == 9
    assert {f.severity for f in audit.findings} == {"warning"}
    assert all(words in f.message for f in audit.findings)
    assert len(audit.findings) == len(stored)


def test_a_locked_record_cannot_be_removed(store: Store, stored: dict[str, bytes]) -> None:
    key = next(iter(stored))
    version = store.versions(key)[0].version_id
    with pytest.raises(Exception, match="WORM"):
        store.client.remove_object(store.location.bucket, key, version_id=version)


def test_an_objects_first_version_counts_even_where_it_was_squatted(store: Store) -> None:
    log = LogWriter()
    log.stream(episode("a", 7))
    squatted = next(key for key in log.objects if "/segments/" in key)
    store.put(squatted, b"mine")
    for key, data in log.objects.items():
        store.put(key, data)
    assert {f.code for f in Audit(StoreSource(store, "")).run().findings if f.severity == "error"} >= {"Changed"}


def test_a_store_that_is_away_is_no_empty_log() -> None:
    nowhere = StoreLocation(endpoint="127.0.0.1:1", secure=False, bucket="decisions")
    with pytest.raises(StoreError, match="cannot list"):
        StoreSource(Store(nowhere, lambda: StoreCredentials(access_key="a", secret_key="b")), "")


@pytest.fixture
def copied(store: Store, stored: dict[str, bytes], tmp_path: Path) -> Path:
    copy(StoreSource(store, ""), tmp_path)
    return tmp_path


def test_a_copy_is_proved(copied: Path) -> None:
    assert Audit(DirectorySource(copied)).run().findings == []


def one_byte_changed(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("indexed", [True, False], ids=["with its index", "without an index"])
def test_a_copy_with_one_byte_changed_is_not(copied: Path, indexed: bool) -> None:
    if not indexed:
        (copied / INDEX).unlink()
    for path in sorted(copied.rglob("*.*")):
        if path.name != INDEX and path.is_file():
            before = path.read_bytes()
            one_byte_changed(path)
            assert not Audit(DirectorySource(copied)).run().proved, path
            path.write_bytes(before)
    assert Audit(DirectorySource(copied)).run().proved


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        pytest.param(lambda d: next(d.rglob("closed.json")).unlink(), "is in the copy's index", id="an object is gone"),
        pytest.param(
            lambda d: (d / ROOT / "registry" / "x.json").write_text("{}"), "is not in the copy's index", id="one is new"
        ),
        pytest.param(lambda d: (d / INDEX).write_text("{"), "index.json is unreadable", id="the index is damaged"),
    ],
)
def test_a_copy_must_be_what_its_index_says(copied: Path, tamper: Callable[[Path], object], words: str) -> None:
    tamper(copied)
    errors = [f.message for f in Audit(DirectorySource(copied)).run().findings if f.severity == "error"]
    assert any(words in message for message in errors)
