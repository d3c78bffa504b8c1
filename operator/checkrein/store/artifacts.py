"""Policies as artifacts: a manifest that lists every file by digest, from trainer to agent.

The trainer exports below its own prefix; publishing copies, verified, to content-addressed keys, where the manifest
also pins each file's version id; loading believes nothing but those pins and digests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from checkrein.api.digests import canonical, sha256
from checkrein.api.environment import Safety
from checkrein.api.meta import FileReference
from checkrein.api.policy import Artifact
from checkrein.api.spaces import Interface
from checkrein.api.tasks import ManifestFile, PolicyManifest
from checkrein.api.training import Acting
from checkrein.store import keys
from checkrein.store.client import READ_LIMIT, Store
from checkrein.store.errors import InvalidArtifact, TooLarge

MANIFEST = "manifest.json"
MANIFEST_LIMIT = 2**20


@dataclass(frozen=True)
class LoadedArtifact:
    """A policy whose every byte was verified."""

    manifest: PolicyManifest
    files: dict[str, bytes]


def export(
    store: Store,
    files: Mapping[str, bytes],
    interface: Interface,
    algorithm: str,
    opset: int,
    acting: Acting = "Deterministic",
    safety: Safety | None = None,
) -> FileReference:
    """Writes an attempt's artifact below `writePrefix`artifact/, the manifest last: where it is, all is.

    Of `safety`, the environment's, the rules go along: whoever acts by the policy keeps them.
    """
    folder = f"{store.location.write_prefix}artifact/"
    manifest = PolicyManifest(
        files=[ManifestFile(path=p, digest=sha256(d), size=len(d)) for p, d in sorted(files.items())],
        interface=interface,
        algorithm=algorithm,
        acting=acting,
        opset=opset,
        features=safety.features if safety else [],
        shield=safety.shield if safety else [],
    )
    _check_files(manifest)
    for path, data in files.items():
        store.put(folder + path, data)
    written = store.put(folder + MANIFEST, canonical(manifest))
    return FileReference(key=written.key, digest=written.digest, size=written.size)


def load_run(store: Store, manifest: FileReference) -> LoadedArtifact:
    """An exported artifact that is not published yet: its files lie beside the manifest.

    Raises InvalidArtifact, DigestMismatch, NotFound, TooLarge.
    """
    parsed = _parse(store.get(manifest.key, digest=manifest.digest, limit=MANIFEST_LIMIT))
    folder = manifest.key.rpartition("/")[0]
    return LoadedArtifact(parsed, {f.path: _read(store, f, f"{folder}/{f.path}", None) for f in parsed.files})


def publish(runs: Store, policies: Store, manifest: FileReference) -> Artifact:
    """Copies an exported artifact to where it can no longer be changed; the same artifact gives the same answer.

    May be interrupted anywhere and repeated: each write is content-addressed and adopts what an earlier run left.
    Bytes pass through here, verified; a server-side copy would neither verify nor heed If-None-Match.
    """
    exported = load_run(runs, manifest)
    files = [_publish_file(policies, f, exported.files[f.path]) for f in exported.manifest.files]
    data = canonical(exported.manifest.model_copy(update={"files": files}))
    stored = policies.put_content("", data)
    return Artifact(
        bucket=policies.location.bucket,
        key=stored.key,
        version_id=_pinned(stored.key, stored.version_id),
        digest=stored.digest,
        size=sum(f.size for f in files),
    )


def load(store: Store, artifact: Artifact) -> LoadedArtifact:
    """A published policy, every byte verified. Raises InvalidArtifact, DigestMismatch, NotFound, TooLarge.

    A DSSE signature over the manifest's bytes is to be verified here, before the manifest is parsed.
    """
    if artifact.bucket != store.location.bucket:
        raise InvalidArtifact(
            f"artifact.bucket is {artifact.bucket!r}, but policies are read from {store.location.bucket!r}: "
            "publish it there"
        )
    _check_key("artifact.key", artifact.key, artifact.digest)
    data = store.get(artifact.key, digest=artifact.digest, version_id=artifact.version_id, limit=MANIFEST_LIMIT)
    manifest = _parse(data)
    if sum(f.size for f in manifest.files) != artifact.size:
        raise InvalidArtifact(f"artifact.size is {artifact.size}, but the manifest's files do not add up to it")
    return LoadedArtifact(manifest, {f.path: _read_published(store, f) for f in manifest.files})


def _publish_file(policies: Store, file: ManifestFile, data: bytes) -> ManifestFile:
    stored = policies.put_content("", data)
    pins = {"key": stored.key, "version_id": _pinned(stored.key, stored.version_id)}
    return file.model_copy(update=pins)


def _pinned(key: str, version_id: str | None) -> str:
    if version_id is None:
        raise InvalidArtifact(f"{key} has no version id: the policies bucket must keep versions")
    return version_id


def _parse(data: bytes) -> PolicyManifest:
    try:
        manifest = PolicyManifest.model_validate_json(data)
    except ValidationError as error:
        raise InvalidArtifact(f"the manifest is malformed: {error}") from error
    _check_files(manifest)
    return manifest


def _check_files(manifest: PolicyManifest) -> None:
    paths = [f.path for f in manifest.files]
    if len(set(paths)) < len(paths) or MANIFEST in paths:
        raise InvalidArtifact(f"manifest.files: each path must be given once and none may be {MANIFEST}, got {paths}")
    if sum(f.size for f in manifest.files) > READ_LIMIT:
        raise TooLarge(f"manifest.files: together they must not exceed {READ_LIMIT} bytes")


def _check_key(field: str, key: str | None, digest: str) -> None:
    if key != keys.content(digest):
        raise InvalidArtifact(f"{field} is {key!r}, but bytes with digest {digest} lie at {keys.content(digest)!r}")


def _read_published(store: Store, file: ManifestFile) -> bytes:
    key = keys.content(file.digest)
    _check_key(f"manifest.files[{file.path}].key", file.key, file.digest)
    return _read(store, file, key, _pinned(key, file.version_id))


def _read(store: Store, file: ManifestFile, key: str, version_id: str | None) -> bytes:
    data = store.get(key, digest=file.digest, version_id=version_id, limit=file.size)
    if len(data) != file.size:
        raise InvalidArtifact(f"manifest.files[{file.path}].size is {file.size}, but the file has {len(data)} bytes")
    return data
