"""A store whose certificate is of an authority that no system knows: MinIO with TLS, by a CA of the test's own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.minio import Minio
from tests.cluster.pki import Authority
from tests.cluster.processes import State

from checkrein.api.digests import sha256
from checkrein.api.tasks import AUTHORITIES, StoreCredentials, StoreLocation
from checkrein.cli.main import main
from checkrein.store import sessions
from checkrein.store.client import Store
from checkrein.store.errors import StoreUnavailable
from checkrein.store.install import install

pytestmark = pytest.mark.store
OPERATOR = StoreCredentials(access_key="operator", secret_key="operator-secret")


@pytest.fixture(scope="module")
def secured(swept: None) -> Iterator[Minio]:
    """MinIO with TLS, its buckets, and the operator's user."""
    state = State.create(f"minio-tls-{os.getpid()}", owned=True)
    try:
        minio = Minio(state, Authority.create(state.path / "pki"))
        administrator = StoreCredentials(access_key=minio.access_key, secret_key=minio.secret_key)
        install(_location(minio), administrator, OPERATOR, "policies", "decisions", authorities=minio.authorities)
        yield minio
    finally:
        state.remove()


def _location(minio: Minio, bucket: str = "runs", **fields: str) -> StoreLocation:
    return StoreLocation(endpoint=minio.endpoint, private_authority=True, bucket=bucket, **fields)


@pytest.fixture
def mounted(secured: Minio, tmp_path: Path) -> Path:
    """The folder that a pod finds: credentials, and who vouches for the store."""
    tmp_path.joinpath("credentials.json").write_text(OPERATOR.model_dump_json(by_alias=True, exclude_none=True))
    assert secured.authorities
    shutil.copy(secured.authorities, tmp_path / AUTHORITIES)
    return tmp_path / "credentials.json"


def test_a_pod_reads_and_writes_by_what_is_mounted(secured: Minio, mounted: Path) -> None:
    store = Store.from_file(_location(secured), mounted)
    store.put("x", b"there")
    assert store.get("x", digest=sha256(b"there")) == b"there"


def test_a_session_is_minted_over_tls(secured: Minio) -> None:
    location = _location(secured, read_prefix="runs/a/", write_prefix="runs/a/1/")
    session = sessions.mint(location, OPERATOR, sessions.run_policy(location), 3600, secured.authorities)
    Store(location, lambda: session, secured.authorities).put("runs/a/1/x", b"there")


def test_the_systems_authorities_do_not_vouch_for_it(secured: Minio, mounted: Path) -> None:
    location = _location(secured).model_copy(update={"private_authority": False})
    with pytest.raises(StoreUnavailable, match=r"certificate verify failed.*store\.caBundle"):
        Store.from_file(location, mounted).put("x", b"there")


def test_a_missing_bundle_never_means_the_systems_authorities(secured: Minio, mounted: Path) -> None:
    mounted.with_name(AUTHORITIES).unlink()
    with pytest.raises(StoreUnavailable, match="TLS fails"):
        Store.from_file(_location(secured), mounted).put("x", b"there")


def test_a_renewed_bundle_counts_without_a_restart(secured: Minio, mounted: Path, tmp_path: Path) -> None:
    bundle = mounted.with_name(AUTHORITIES)
    right = bundle.read_bytes()
    bundle.write_bytes((Authority.create(tmp_path / "another") / "ca.crt").read_bytes())
    store = Store.from_file(_location(secured), mounted)
    with pytest.raises(StoreUnavailable, match="certificate verify failed"):
        store.put("x", b"there")
    bundle.write_bytes(right)
    store.put("x", b"there")


@pytest.mark.parametrize(
    ("bundle", "status", "says"),
    [pytest.param(True, 1, "there is no such log", id="given"), pytest.param(False, 2, "--ca-bundle", id="not given")],
)
def test_the_command_takes_the_bundle_too(
    secured: Minio, mounted: Path, capsys: pytest.CaptureFixture[str], bundle: bool, status: int, says: str
) -> None:
    asked = ["audit", "verify", "--endpoint", secured.endpoint, "--bucket", "decisions", "--credentials", str(mounted)]
    with pytest.raises(SystemExit) as ended:
        main(asked + (["--ca-bundle", str(secured.authorities)] if bundle else []))
    assert ended.value.code == status
    assert says in "".join(capsys.readouterr())
