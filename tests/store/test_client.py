"""The store on a real MinIO, and against servers that answer badly."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Thread

import pytest
from tests.cluster.minio import Minio
from tests.cluster.processes import free_port
from tests.store.conftest import AnswersLost, Buckets

from checkrein.api.digests import sha256
from checkrein.api.tasks import StoreCredentials, StoreLocation
from checkrein.store import keys
from checkrein.store.client import Store
from checkrein.store.errors import AlreadyExists, DigestMismatch, NotFound, StoreError, StoreUnavailable, TooLarge

SMALL, LARGE = b"small", b"large" * 1_500_000  # MinIO's client sends more than 5 MiB in parts
ANYBODY = StoreCredentials(access_key="anybody", secret_key="whatever")
SIZES = [pytest.param(b"", id="empty"), pytest.param(SMALL, id="one part"), pytest.param(LARGE, id="several parts")]


@pytest.fixture(params=["plain", "locked"])
def store(request: pytest.FixtureRequest, runs: Store, policies: Store) -> Store:
    return runs if request.param == "plain" else policies


@pytest.mark.store
@pytest.mark.parametrize("data", SIZES)
def test_what_was_written_is_read(store: Store, data: bytes) -> None:
    stored = store.put("k", data)
    assert (stored.digest, stored.size) == (sha256(data), len(data))
    assert store.get("k", digest=stored.digest, version_id=stored.version_id, limit=len(data)) == data


@pytest.mark.store
@pytest.mark.parametrize("data", SIZES)
def test_creation_of_a_taken_key_is_refused(store: Store, data: bytes) -> None:
    first = store.put("k", data, if_absent=True)
    with pytest.raises(AlreadyExists, match=r"cannot write s3://.*/k: PreconditionFailed"):
        store.put("k", data[::-1] + b"x", if_absent=True)
    assert store.get("k", digest=first.digest) == data
    assert len(store.versions("k")) == 1


@pytest.mark.store
def test_a_condition_ends_with_its_write(store: Store) -> None:
    store.put("k", b"1", if_absent=True)
    assert store.put("k", b"2").digest == sha256(b"2")


@pytest.mark.store
def test_of_fifty_racing_writers_one_creates(store: Store) -> None:
    def create(number: int) -> int | None:
        try:
            store.put("k", str(number).encode(), if_absent=True)
        except AlreadyExists:
            return None
        return number

    with ThreadPoolExecutor(50) as pool:
        winners = [w for w in pool.map(create, range(50)) if w is not None]
    assert [store.read_unverified("k", 10)] == [str(w).encode() for w in winners]
    assert len(store.versions("k")) == 1


@pytest.mark.store
@pytest.mark.parametrize(
    ("key", "limit", "kind", "words"),
    [
        pytest.param("k", 5, DigestMismatch, "k has digest sha256:.*, expected sha256:0+: its bytes", id="other bytes"),
        pytest.param("k", 4, TooLarge, "more than the 4 bytes", id="more bytes than expected"),
        pytest.param("none", 5, NotFound, "cannot read s3://.*/none: NoSuchKey", id="nothing there"),
        pytest.param("../k", 5, StoreError, "cannot read", id="a path that leads elsewhere"),
    ],
)
def test_reads_that_are_refused(runs: Store, key: str, limit: int, kind: type[StoreError], words: str) -> None:
    runs.put("k", SMALL)
    with pytest.raises(kind, match=words):
        runs.get(key, digest=f"sha256:{'0' * 64}", limit=limit)


@pytest.mark.store
def test_a_missing_bucket_may_come_back(installation: Buckets) -> None:
    with pytest.raises(StoreUnavailable, match="NoSuchBucket"):
        installation.store("no-such-bucket").list("")


@pytest.mark.store
def test_a_listing_has_what_lies_below_the_prefix(runs: Store) -> None:
    for key in ("a/1", "a/2/x", "ab", "a b/ü+%"):
        runs.put(key, SMALL)
    assert [(o.key, o.size) for o in runs.list("a/")] == [("a/1", 5), ("a/2/x", 5)]
    assert [o.key for o in runs.list("a b/")] == ["a b/ü+%"]


@pytest.mark.store
def test_a_listing_goes_on_after_a_thousand(runs: Store) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda i: runs.put(f"many/{i}", b""), range(1001)))
    assert len(runs.list("many/")) == 1001


@pytest.mark.store
def test_deletion_is_for_good_where_no_versions_are_kept(runs: Store) -> None:
    runs.put("k", SMALL)
    runs.delete("k")
    runs.delete("k")
    assert runs.list("") == []


@pytest.mark.store
def test_versions_are_listed_from_the_oldest_on(policies: Store) -> None:
    written = [policies.put("k", data).version_id for data in (b"1", b"2", b"3")]
    policies.delete("k")
    listed = policies.versions("k")
    assert [v.version_id for v in listed if not v.is_delete_marker] == written
    assert len(listed) == 4


@pytest.mark.store
@pytest.mark.parametrize("data", SIZES)
def test_the_same_content_is_the_same_version(store: Store, data: bytes) -> None:
    stored = store.put_content("below/", data)
    assert stored.key == "below/" + keys.content(sha256(data))
    assert store.put_content("below/", data) == stored
    assert len(store.versions("below/")) == 1


@pytest.mark.store
def test_a_lost_answer_leaves_one_version(installation: Buckets, policies: Store) -> None:
    stored = installation.store(installation.policies, kind=AnswersLost).put_content("", SMALL)
    assert [v.version_id for v in policies.versions("")] == [stored.version_id]


@pytest.mark.store
def test_content_behind_a_delete_marker_or_overwritten_is_still_the_same_version(policies: Store) -> None:
    stored = policies.put_content("", SMALL)
    policies.put(stored.key, b"wrong")
    policies.delete(stored.key)
    assert policies.put_content("", SMALL) == stored


@pytest.mark.store
@pytest.mark.parametrize("squatter", [pytest.param(b"llams", id="as long"), pytest.param(b"longer one", id="longer")])
def test_a_squatted_key_gets_our_bytes_beside(store: Store, squatter: bytes) -> None:
    store.put(keys.content(sha256(SMALL)), squatter)
    stored = store.put_content("", SMALL)
    assert store.get(stored.key, digest=sha256(SMALL), version_id=stored.version_id) == SMALL
    assert store.put_content("", SMALL) == stored


@pytest.mark.store
def test_of_fifty_racing_writers_of_the_same_content_all_get_one_version(policies: Store) -> None:
    with ThreadPoolExecutor(50) as pool:
        stored = set(pool.map(lambda _: policies.put_content("", SMALL), range(50)))
    assert len(stored) == 1
    assert len(policies.versions("")) == 1


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that gives every request one answer and hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

    thread = Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_who_must_not_stand_still_gives_up_a_store_that_hangs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:  # it takes connections, and says nothing
        place = StoreLocation(endpoint=f"127.0.0.1:{hanging.getsockname()[1]}", secure=False, bucket="bucket")
        store = Store(place, lambda: StoreCredentials(access_key="a", secret_key="s"), hurried=True)
        with pytest.raises(StoreUnavailable):
            store.list("")
        hanging.setblocking(False)
        hanging.accept()[0].close()
        with pytest.raises(BlockingIOError):  # asked once
            hanging.accept()


def response(status: str, content_type: str, length: int, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n".encode() + body


OPERATIONS: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.read_unverified("k", 2000),
    "list": lambda store: store.list(""),
    "put": lambda store: store.put("k", b"x", if_absent=True),
}


@pytest.mark.parametrize(
    ("answer", "operations"),
    [
        pytest.param(response("200 OK", "text/plain", 1000, b"half"), ["get"], id="killed in the middle of an object"),
        pytest.param(response("200 OK", "application/xml", 4, b"<no>"), ["list"], id="XML that ends early"),
        pytest.param(response("404 Not Found", "text/html", 6, b"<html>"), OPERATIONS, id="something that is not S3"),
        pytest.param(response("403 No", "application/xml", 4, b"<no>"), OPERATIONS, id="an error that ends early"),
        pytest.param(response("503 Slow", "application/xml", 0, b""), OPERATIONS, id="overload that outlasts retries"),
        pytest.param(b"", OPERATIONS, id="hangs up"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", OPERATIONS, id="another protocol"),
    ],
)
def test_a_server_that_answers_badly_is_unavailable(answer: bytes, operations: Iterable[str]) -> None:
    with answering(answer) as endpoint:
        store = Store(StoreLocation(endpoint=endpoint, secure=False, bucket="bucket"), lambda: ANYBODY)
        for operation in operations:
            with pytest.raises(StoreUnavailable, match="cannot"):
                OPERATIONS[operation](store)


def test_a_server_that_is_down_is_unavailable() -> None:
    place = StoreLocation(endpoint=f"127.0.0.1:{free_port()}", secure=False, bucket="bucket")
    store = Store(place, lambda: ANYBODY)
    with pytest.raises(StoreUnavailable, match="Connection refused"):
        store.list("")


@pytest.mark.store
@pytest.mark.timeout(150, func_only=True)  # a minute before each of three retries would be longer
def test_an_object_that_is_damaged_on_the_stores_disk_is_refused_without_waiting_for_it(
    policies: Store, minio: Minio
) -> None:
    """MinIO asks for a minute's patience with what it will never be able to read."""
    stored = policies.put_content("", b"sha256" * 10_000)
    [part] = (minio.state.path / "data" / policies.location.bucket / stored.key).rglob("part.1")
    part.write_bytes(part.read_bytes().replace(b"sha256", b"sha257"))
    with pytest.raises(StoreUnavailable):
        policies.get(stored.key, digest=stored.digest, version_id=stored.version_id)
