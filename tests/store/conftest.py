"""Stores on a real MinIO: fresh buckets for every test."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from tests.cluster.minio import Minio

from checkrein.api.spaces import Interface, Space
from checkrein.api.tasks import StoreCredentials, StoreLocation
from checkrein.store import buckets
from checkrein.store.client import Store, StoredObject

JOB = "runs/c/ns/job-uid/"
ATTEMPT = f"{JOB}1/train/"


class Crash(BaseException):
    """The process is gone: nothing that follows a write happens, no handler of errors either."""


class CrashingStore(Store):
    """Dies right after a given number of writes."""

    def __init__(self, location: StoreLocation, keys: Callable[[], StoreCredentials], after_writes: int) -> None:
        super().__init__(location, keys)
        self.writes_left = after_writes

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> StoredObject:
        written = super().put(key, data, if_absent=if_absent)
        self.writes_left -= 1
        if self.writes_left == 0:
            raise Crash
        return written


class AnswersLost(Store):
    """Every answer to a write is lost and the request is sent again: the second meets the first one's object."""

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> StoredObject:
        super().put(key, data, if_absent=if_absent)
        return super().put(key, data, if_absent=if_absent)


@dataclass(frozen=True)
class Buckets:
    """The buckets of one installation, and who owns everything in them."""

    endpoint: str
    owner: StoreCredentials
    policies: str
    runs: str
    decisions: str

    def location(self, bucket: str, *, read: str = "", write: str = "") -> StoreLocation:
        return StoreLocation(endpoint=self.endpoint, secure=False, bucket=bucket, read_prefix=read, write_prefix=write)

    def keys(self) -> StoreCredentials:
        return self.owner

    def crashing(self, after_writes: int, *, bucket: str = "", write: str = "") -> CrashingStore:
        """A store (of policies, unless told) that dies as soon as that many writes have arrived."""
        return CrashingStore(self.location(bucket or self.policies, write=write), self.keys, after_writes)

    def store(self, bucket: str, *, write: str = "", kind: type[Store] = Store) -> Store:
        return kind(self.location(bucket, write=write), self.keys)


@pytest.fixture
def installation(minio: Minio) -> Buckets:
    suffix = secrets.token_hex(4)
    owner = StoreCredentials(access_key=minio.access_key, secret_key=minio.secret_key)
    made = Buckets(minio.endpoint, owner, f"policies-{suffix}", f"runs-{suffix}", f"decisions-{suffix}")
    buckets.ensure(made.store(made.runs), made.policies, made.runs, made.decisions)
    return made


@pytest.fixture
def policies(installation: Buckets) -> Store:
    return installation.store(installation.policies)


@pytest.fixture
def runs(installation: Buckets) -> Store:
    """As a trainer sees it: it writes below its attempt."""
    return installation.store(installation.runs, write=ATTEMPT)


@pytest.fixture
def interface() -> Interface:
    observation = Space(type="Box", dtype="float32", shape=[4], low=["-inf"], high=["inf"])
    return Interface(observation=observation, action=Space(type="Discrete", dtype="int64", n=2, start=0))
