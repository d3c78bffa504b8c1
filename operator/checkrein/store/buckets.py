"""The buckets: policies and decisions, which nobody can change or delete, and runs, where things come and go."""

from __future__ import annotations

import time
from contextlib import suppress

from minio.commonconfig import COMPLIANCE
from minio.error import S3Error
from minio.objectlockconfig import DAYS, YEARS, ObjectLockConfig

from checkrein.store.client import Store
from checkrein.store.errors import AlreadyExists, StoreRefused, translated

YOUNG_SECONDS = 2.0
"""How long a bucket that another has just created may show no object lock yet, and how often it is looked at."""
LOOK_SECONDS = 0.1


def ensure(
    store: Store,
    policies_bucket: str,
    runs_bucket: str,
    decisions_bucket: str | None = None,
    *,
    retention_days: int = 1,
) -> None:
    """Creates what is missing; run twice, or after a crash halfway, it ends the same. Never shortens a retention.

    `retention_days` is how long nobody, root included, can delete what was published or logged. Installations choose
    years; the default suits development. Without `decisions_bucket` there is none: nothing decides there.
    `store` lends its connection: its own bucket does not matter.
    Raises StoreRefused where a bucket that needs object lock exists without, which only its creation can set.
    """
    _create(store, runs_bucket, lock=False)
    for bucket in filter(None, (policies_bucket, decisions_bucket)):
        _create(store, bucket, lock=True)
        _retain(store, bucket, retention_days)


def _create(store: Store, bucket: str, *, lock: bool) -> None:
    with translated(f"look for bucket {bucket!r}"):
        if store.client.bucket_exists(bucket):
            return
    # Another may create it at the same moment; whether it is locked is looked at next.
    with suppress(AlreadyExists), translated(f"create bucket {bucket!r}"):
        store.client.make_bucket(bucket, object_lock=lock)


def _retain(store: Store, bucket: str, days: int) -> None:
    with translated(f"read the object lock of bucket {bucket!r}"):
        present = _settled_lock_config(store, bucket)
    if present is None:
        raise StoreRefused(
            f"bucket {bucket!r} has no object lock; name a bucket that does not exist yet, or one with it"
        )
    if present.mode != COMPLIANCE or _days(present) < days:
        with translated(f"set the retention of bucket {bucket!r}"):
            store.client.set_object_lock_config(bucket, ObjectLockConfig(COMPLIANCE, days, DAYS))


def _settled_lock_config(store: Store, bucket: str) -> ObjectLockConfig | None:
    """None where it has none for good: a bucket is there before its lock is."""
    until = time.monotonic() + YOUNG_SECONDS
    while (found := _lock_config(store, bucket)) is None and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
    return found


def _lock_config(store: Store, bucket: str) -> ObjectLockConfig | None:
    try:
        return store.client.get_object_lock_config(bucket)
    except S3Error as error:
        if error.code == "ObjectLockConfigurationNotFoundError":
            return None
        raise


def _days(config: ObjectLockConfig) -> int:
    return (config.duration or 0) * (365 if config.duration_unit == YEARS else 1)
