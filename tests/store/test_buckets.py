"""The buckets: made once, whole after a crash, never weakened."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest
from minio.commonconfig import COMPLIANCE, GOVERNANCE
from minio.error import S3Error
from minio.objectlockconfig import DAYS, YEARS, ObjectLockConfig
from tests.store.conftest import Buckets

from checkrein.store import buckets
from checkrein.store.client import Store
from checkrein.store.errors import StoreRefused

pytestmark = pytest.mark.store


@pytest.fixture
def fresh() -> str:
    """A bucket that does not exist yet."""
    return f"fresh-{secrets.token_hex(4)}"


def ensure(runs: Store, policies_bucket: str, days: int) -> ObjectLockConfig:
    buckets.ensure(runs, policies_bucket, runs.location.bucket, retention_days=days)
    return runs.client.get_object_lock_config(policies_bucket)


@pytest.mark.parametrize("which", ["policies", "decisions"])
def test_what_is_published_or_logged_cannot_be_deleted_even_by_root(installation: Buckets, which: str) -> None:
    store = installation.store(getattr(installation, which))
    stored = store.put("k", b"1")
    with pytest.raises(S3Error, match="WORM"):
        store.client.remove_object(store.location.bucket, "k", version_id=stored.version_id)
    assert store.get("k", digest=stored.digest, version_id=stored.version_id) == b"1"


@pytest.mark.parametrize(
    ("present", "days", "expected"),
    [
        pytest.param(None, 3, (COMPLIANCE, 3, DAYS), id="a crash before the retention was set is mended"),
        pytest.param(
            (GOVERNANCE, 9, DAYS), 3, (COMPLIANCE, 3, DAYS), id="a retention that root could lift is replaced"
        ),
        pytest.param((COMPLIANCE, 2, DAYS), 3, (COMPLIANCE, 3, DAYS), id="a shorter one is extended"),
        pytest.param((COMPLIANCE, 5, DAYS), 3, (COMPLIANCE, 5, DAYS), id="a longer one is left"),
        pytest.param((COMPLIANCE, 1, YEARS), 300, (COMPLIANCE, 1, YEARS), id="a year is longer than 300 days"),
    ],
)
def test_a_bucket_with_object_lock_is_brought_up_to_what_is_asked(
    runs: Store, fresh: str, present: tuple[str, int, str] | None, days: int, expected: tuple[str, int, str]
) -> None:
    runs.client.make_bucket(fresh, object_lock=True)
    if present:
        runs.client.set_object_lock_config(fresh, ObjectLockConfig(*present))
    assert ensure(runs, fresh, days) == ObjectLockConfig(*expected)


def test_a_policies_bucket_without_object_lock_is_refused(runs: Store, fresh: str) -> None:
    runs.client.make_bucket(fresh)
    with pytest.raises(StoreRefused, match=f"bucket '{fresh}' has no object lock; name a bucket"):
        ensure(runs, fresh, 1)


def test_nor_is_a_decisions_bucket_without(runs: Store, policies: Store, fresh: str) -> None:
    runs.client.make_bucket(fresh)
    with pytest.raises(StoreRefused, match=f"bucket '{fresh}' has no object lock"):
        buckets.ensure(runs, policies.location.bucket, runs.location.bucket, fresh)


def test_many_may_ensure_at_once(runs: Store, fresh: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        configs = list(pool.map(lambda _: ensure(runs, fresh, 2), range(8)))
    assert configs == [ObjectLockConfig(COMPLIANCE, 2, DAYS)] * 8


def test_the_runs_bucket_keeps_no_versions(installation: Buckets, runs: Store) -> None:
    assert runs.put("k", b"1").version_id is None
