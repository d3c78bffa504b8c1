"""One bucket of an S3 service: verified reads, conditional and content-addressed writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path

from minio import Minio
from minio.datatypes import Object
from urllib3 import Retry, Timeout

from checkrein.api.digests import sha256
from checkrein.api.tasks import AUTHORITIES, StoreCredentials, StoreLocation
from checkrein.store import keys
from checkrein.store.conditional import ConditionalPool, only_if_absent
from checkrein.store.credentials import RenewingProvider, from_file
from checkrein.store.errors import AlreadyExists, DigestMismatch, StoreUnavailable, TooLarge, translated
from checkrein.store.observing import Observer, nobody, observed

READ_LIMIT = 2**30


@dataclass(frozen=True)
class StoredObject:
    """One version of an object, by content. `version_id` is None in a bucket without versions."""

    key: str
    version_id: str | None
    digest: str
    size: int


@dataclass(frozen=True)
class ListedObject:
    """One line of a listing. Says nothing about the bytes: read them verified."""

    key: str
    version_id: str | None
    size: int
    last_modified: datetime | None
    is_delete_marker: bool


def connection_pool(authorities: Path | None = None, *, hurried: bool = False) -> ConditionalPool:
    """Connections that find in seconds that nobody listens. Retries cover what is safe to repeat: all but POST.

    A store that takes requests and never answers is given up within a minute; `hurried`: after 5 s, untried again.
    `authorities` (PEM) replace the system's; each new connection reads them, so that a renewed file counts at once.
    """
    return ConditionalPool(
        ca_certs=str(authorities) if authorities else None,
        timeout=Timeout(connect=3, read=5 if hurried else 30),
        # MinIO answers 503 with Retry-After: 60 for an object that it finds damaged: waiting would mend nothing.
        retries=Retry(
            total=0 if hurried else 3,
            read=0 if hurried else 1,
            backoff_factor=0.2,
            status_forcelist=[500, 502, 503, 504],
            raise_on_status=False,  # the last answer says why
            respect_retry_after_header=False,
        ),
        maxsize=32,
        block=True,
    )


def authorities_beside(location: StoreLocation, credentials: Path) -> Path | None:
    """The file with the authorities that the store's certificate is checked against; None: the system's."""
    return credentials.with_name(AUTHORITIES) if location.private_authority else None


class Store:
    """One bucket. Synchronous and thread-safe; callers in asyncio use `asyncio.to_thread`. Raises StoreError only.

    `hurried`: for callers who ask again anyway, and must not stand still while the store does.
    """

    def __init__(
        self,
        location: StoreLocation,
        credentials: Callable[[], StoreCredentials],
        authorities: Path | None = None,
        *,
        hurried: bool = False,
        observer: Observer = nobody,
    ) -> None:
        self.location = location
        self.credentials = credentials
        self._observer = observer
        with translated(f"use the store at {location.endpoint!r}"):
            self.client = Minio(
                location.endpoint,
                secure=location.secure,
                region=location.region,
                http_client=connection_pool(authorities, hurried=hurried),
                credentials=RenewingProvider(credentials),
            )

    @classmethod
    def from_file(cls, location: StoreLocation, path: str | Path, observer: Observer = nobody) -> Store:
        """A store whose credentials are mounted as a file and renewed there, and with them who vouches for it."""
        return cls(location, from_file(Path(path)), authorities_beside(location, Path(path)), observer=observer)

    def get(self, key: str, *, digest: str, version_id: str | None = None, limit: int = READ_LIMIT) -> bytes:
        """The bytes with this digest. Raises DigestMismatch, NotFound, TooLarge."""
        data = self.read_unverified(key, limit, version_id)
        found = sha256(data)
        if found != digest:
            raise DigestMismatch(f"{self._name(key)} has digest {found}, expected {digest}: its bytes were changed")
        return data

    def read_unverified(self, key: str, limit: int, version_id: str | None = None) -> bytes:
        """Whatever lies there now, up to `limit` bytes: for what no digest is known of. Raises NotFound, TooLarge."""
        with self._edge("read", f"{key}?versionId={version_id}" if version_id else key):
            response = self.client.get_object(self.location.bucket, key, version_id=version_id)
            try:
                data: bytes = response.read(limit + 1)
            finally:
                response.close()
                response.release_conn()
        if len(data) > limit:
            raise TooLarge(f"{self._name(key)} has more than the {limit} bytes that were expected")
        return data

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> StoredObject:
        """Writes one object. With `if_absent` raises AlreadyExists on a taken key.

        It may have been taken by this very call, whose first answer was lost: compare before believing it lost.
        """
        with self._edge("write", key), only_if_absent(if_absent):
            written = self.client.put_object(self.location.bucket, key, BytesIO(data), len(data))
        return StoredObject(key, written.version_id, sha256(data), len(data))

    def put_content(self, prefix: str, data: bytes) -> StoredObject:
        """Writes bytes below `prefix` under their digest; the same bytes are always the same version.

        A key that holds other bytes is squatted: ours become one more version, and that one is pinned.
        """
        digest = sha256(data)
        key = prefix + keys.content(digest)
        present = self._intact_version(key, digest, len(data))
        if present:
            return present
        try:
            return self.put(key, data, if_absent=True)
        except AlreadyExists:
            return self._intact_version(key, digest, len(data)) or self._put_beside(key, data)

    def _put_beside(self, key: str, data: bytes) -> StoredObject:
        written = self.put(key, data)
        # Others may have done the same: all of them settle on the oldest.
        settled = self._intact_version(key, written.digest, written.size)
        if settled is None:
            raise StoreUnavailable(f"{self._name(key)} was overwritten while it was being written; try again")
        return settled

    def _intact_version(self, key: str, digest: str, size: int) -> StoredObject | None:
        """The oldest version with these bytes. "Latest" and delete markers do not count: both can be made to lie."""
        for version in self.versions(key):
            if version.key == key and version.size == size and not version.is_delete_marker:
                try:
                    self.get(key, digest=digest, version_id=version.version_id, limit=size)
                except (DigestMismatch, TooLarge):
                    continue
                return StoredObject(key, version.version_id, digest, size)
        return None

    def list(self, prefix: str) -> Sequence[ListedObject]:
        """The latest version of every object below `prefix`, by key."""
        with self._edge("list", prefix):
            found = self.client.list_objects(self.location.bucket, prefix=prefix, recursive=True)
            return [_listed(o) for o in found]

    def versions(self, prefix: str) -> Sequence[ListedObject]:
        """Every version below `prefix`, each key's oldest first, and every delete marker, in no order with them."""
        with self._edge("list_versions", prefix):
            found = self.client.list_objects(self.location.bucket, prefix=prefix, recursive=True, include_version=True)
            # S3, ListObjectVersions: "most recently stored returned first".
            return [_listed(o) for o in found][::-1]

    def delete(self, key: str) -> None:
        """Removes an object; where versions are kept, it only hides it. Nothing there is no error."""
        with self._edge("delete", key):
            self.client.remove_object(self.location.bucket, key)

    def _name(self, key: str) -> str:
        return f"s3://{self.location.bucket}/{key}"

    @contextmanager
    def _edge(self, verb: str, key: str) -> Iterator[None]:
        with observed(self._observer, verb), translated(f"{verb.replace('_', ' ')} {self._name(key)}"):
            yield


def _listed(found: Object) -> ListedObject:
    version = None if found.version_id in (None, "", "null") else found.version_id
    return ListedObject(
        key=found.object_name or "",
        version_id=version,
        size=found.size or 0,
        last_modified=found.last_modified,
        is_delete_marker=bool(found.is_delete_marker),
    )
