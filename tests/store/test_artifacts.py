"""Artifacts from trainer to agent: whole or not at all, the same however often, and never other bytes."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.store.conftest import ATTEMPT, Buckets, Crash

from checkrein.api.digests import canonical, sha256
from checkrein.api.environment import Safety
from checkrein.api.meta import FileReference
from checkrein.api.policy import Artifact
from checkrein.api.shield import ShieldRule
from checkrein.api.spaces import Interface
from checkrein.api.tasks import ManifestFile
from checkrein.store import artifacts
from checkrein.store.artifacts import MANIFEST, export, load, load_run, publish
from checkrein.store.client import Store
from checkrein.store.errors import DigestMismatch, InvalidArtifact, NotFound, StoreError, StoreRefused, TooLarge
from checkrein.store.reservations import reserve_version

pytestmark = pytest.mark.store
FILES = {"policy.onnx": b"\x08\x0anetwork" * 100, "statistics.json": b"{}"}
WRITES_OF_A_PUBLICATION = len(FILES) + 2  # the manifest, and the version's number


@pytest.fixture
def exported(runs: Store, interface: Interface) -> FileReference:
    return export(runs, FILES, interface, "PPO", opset=17)


@pytest.fixture
def artifact(runs: Store, policies: Store, exported: FileReference) -> Artifact:
    return publish(runs, policies, exported)


def test_an_export_lies_below_the_attempt_and_loads_as_it_was(
    runs: Store, exported: FileReference, interface: Interface
) -> None:
    assert {o.key for o in runs.list("")} == {f"{ATTEMPT}artifact/{name}" for name in (*FILES, MANIFEST)}
    loaded = load_run(runs, exported)
    assert loaded.files == FILES
    assert (loaded.manifest.interface, loaded.manifest.algorithm, loaded.manifest.opset) == (interface, "PPO", 17)


def test_the_environment_s_rules_and_the_way_to_act_go_along(runs: Store, interface: Interface) -> None:
    safety = Safety(features=["speed"], shield=[ShieldRule(name="slow", require="features.speed < 2.0")])
    manifest = load_run(runs, export(runs, FILES, interface, "PPO", 17, "Stochastic", safety)).manifest
    assert (manifest.acting, manifest.features, manifest.shield) == ("Stochastic", safety.features, safety.shield)


def test_an_attempt_may_export_again(runs: Store, exported: FileReference, interface: Interface) -> None:
    assert export(runs, dict(reversed(FILES.items())), interface, "PPO", opset=17) == exported


@pytest.mark.parametrize("after_writes", range(1, len(FILES) + 1))
def test_a_crash_during_export_leaves_no_manifest(
    installation: Buckets, runs: Store, interface: Interface, after_writes: int
) -> None:
    dying = installation.crashing(after_writes, bucket=installation.runs, write=ATTEMPT)
    with pytest.raises(Crash):
        export(dying, FILES, interface, "PPO", opset=17)
    assert MANIFEST not in {o.key.rpartition("/")[2] for o in runs.list("")}


def test_a_file_that_the_manifest_would_overwrite_is_refused(runs: Store, interface: Interface) -> None:
    with pytest.raises(InvalidArtifact, match=r"manifest\.files: .* none may be manifest\.json"):
        export(runs, {MANIFEST: b"{}"}, interface, "PPO", opset=17)


def test_what_was_published_loads_verified(policies: Store, artifact: Artifact) -> None:
    loaded = load(policies, artifact)
    assert loaded.files == FILES
    assert sha256(canonical(loaded.manifest)) == artifact.digest
    assert artifact.size == sum(map(len, FILES.values()))


def test_publishing_again_gives_the_same_artifact(
    runs: Store, policies: Store, exported: FileReference, artifact: Artifact
) -> None:
    before = policies.versions("")
    assert publish(runs, policies, exported) == artifact
    assert policies.versions("") == before


def test_what_was_published_outlives_its_run(runs: Store, policies: Store, artifact: Artifact) -> None:
    for found in runs.list(""):
        runs.delete(found.key)
    assert load(policies, artifact).files == FILES


@pytest.mark.parametrize("after_writes", range(1, WRITES_OF_A_PUBLICATION + 1))
def test_a_crash_after_any_write_of_a_publication_costs_nothing(
    installation: Buckets, runs: Store, policies: Store, exported: FileReference, after_writes: int
) -> None:
    def publication(store: Store) -> tuple[Artifact, int]:
        return publish(runs, store, exported), reserve_version(store, "c", "ns", "cartpole", "job-uid")

    with pytest.raises(Crash):
        publication(installation.crashing(after_writes))
    assert len(policies.versions("")) == after_writes
    published, number = publication(policies)
    assert (number, len(policies.versions(""))) == (1, WRITES_OF_A_PUBLICATION)
    assert load(policies, published).files == FILES
    assert publication(policies) == (published, number)


def test_fifty_racing_publishers_of_the_same_export_agree(
    runs: Store, policies: Store, exported: FileReference
) -> None:
    with ThreadPoolExecutor(50) as pool:
        published = set(pool.map(lambda _: publish(runs, policies, exported).model_dump_json(), range(50)))
    assert len(published) == 1
    assert len(policies.versions("")) == len(FILES) + 1


def test_fifty_racing_publishers_of_one_policy_get_fifty_numbers(
    runs: Store, policies: Store, exported: FileReference
) -> None:
    def publication(number: int) -> tuple[str, int]:
        artifact = publish(runs, policies, exported)
        return artifact.digest, reserve_version(policies, "c", "ns", "cartpole", f"job-{number}")

    with ThreadPoolExecutor(50) as pool:
        published = list(pool.map(publication, range(50)))
    assert sorted(number for _, number in published) == list(range(1, 51))


def overwrite_latest(store: Store, artifact: Artifact) -> None:
    store.put(artifact.key, b"{}")


def hide_behind_delete_markers(store: Store, artifact: Artifact) -> None:
    for version in store.versions("sha256/"):
        store.delete(version.key)


def overwrite_every_file(store: Store, artifact: Artifact) -> None:
    for version in store.versions("sha256/"):
        store.put(version.key, b"evil")


@pytest.mark.parametrize(
    "tamper",
    [
        pytest.param(overwrite_latest, id="the latest manifest is another"),
        pytest.param(overwrite_every_file, id="every latest version is another"),
        pytest.param(hide_behind_delete_markers, id="everything is behind delete markers"),
    ],
)
def test_what_is_pinned_does_not_care_what_is_latest(
    runs: Store,
    policies: Store,
    exported: FileReference,
    artifact: Artifact,
    tamper: Callable[[Store, Artifact], None],
) -> None:
    tamper(policies, artifact)
    assert load(policies, artifact).files == FILES
    assert publish(runs, policies, exported) == artifact


def pinned_to_latest(store: Store, artifact: Artifact) -> Artifact:
    """As if whoever writes PolicyVersions had taken the overwritten version for the real one."""
    return artifact.model_copy(update={"version_id": store.put(artifact.key, b"{}").version_id})


def pinned_to_delete_marker(store: Store, artifact: Artifact) -> Artifact:
    store.delete(artifact.key)
    marker = next(v for v in store.versions(artifact.key) if v.is_delete_marker)
    return artifact.model_copy(update={"version_id": marker.version_id})


def swapped_version_id(store: Store, artifact: Artifact) -> Artifact:
    other = next(v for v in store.versions("sha256/") if v.key != artifact.key)
    return artifact.model_copy(update={"version_id": other.version_id})


def other_bytes(store: Store, artifact: Artifact) -> Artifact:
    """Key and digest of another manifest, with this one's version."""
    other = store.put_content("", b"{}")
    return artifact.model_copy(update={"key": other.key, "digest": other.digest})


def with_manifest(store: Store, artifact: Artifact, change: Callable[[ManifestFile], ManifestFile]) -> Artifact:
    """A well-formed artifact whose manifest says something else about its first file."""
    manifest = load(store, artifact).manifest
    forged = manifest.model_copy(update={"files": [change(manifest.files[0]), *manifest.files[1:]]})
    stored = store.put_content("", canonical(forged))
    size = sum(f.size for f in forged.files)
    pins = {"key": stored.key, "version_id": stored.version_id, "digest": stored.digest, "size": size}
    return artifact.model_copy(update=pins)


def other_file(store: Store, artifact: Artifact) -> Artifact:
    other = store.put_content("", b"another network")
    return with_manifest(
        store, artifact, lambda f: f.model_copy(update={"key": other.key, "version_id": other.version_id})
    )


def other_version_of_the_file(store: Store, artifact: Artifact) -> Artifact:
    evil = b"E" * len(FILES["policy.onnx"])
    return with_manifest(
        store, artifact, lambda f: f.model_copy(update={"version_id": store.put(f.key or "", evil).version_id})
    )


def resized(size: int) -> Callable[[Store, Artifact], Artifact]:
    return lambda store, artifact: with_manifest(store, artifact, lambda f: f.model_copy(update={"size": size}))


def unpinned_file(store: Store, artifact: Artifact) -> Artifact:
    return with_manifest(store, artifact, lambda f: f.model_copy(update={"version_id": None}))


def twice_the_same_path(store: Store, artifact: Artifact) -> Artifact:
    return with_manifest(store, artifact, lambda f: f.model_copy(update={"path": "statistics.json"}))


def no_manifest_at_all(store: Store, artifact: Artifact) -> Artifact:
    stored = store.put_content("", b'{"files": "none"}')
    pins = {"key": stored.key, "version_id": stored.version_id, "digest": stored.digest}
    return artifact.model_copy(update=pins)


def changed(**fields: object) -> Callable[[Store, Artifact], Artifact]:
    return lambda store, artifact: artifact.model_copy(update=fields)


@pytest.mark.parametrize(
    ("forge", "kind", "words"),
    [
        pytest.param(pinned_to_latest, DigestMismatch, "its bytes were changed", id="the overwritten latest version"),
        pytest.param(pinned_to_delete_marker, StoreRefused, "cannot read .*: MethodNotAllowed", id="a delete marker"),
        pytest.param(swapped_version_id, NotFound, "NoSuchVersion", id="another object's version id"),
        pytest.param(
            changed(version_id="no-id"), StoreRefused, r"\?versionId=no-id: Invalid", id="a malformed version id"
        ),
        pytest.param(other_bytes, NotFound, "NoSuchVersion", id="another manifest's digest"),
        pytest.param(changed(digest=f"sha256:{'0' * 64}"), InvalidArtifact, "artifact.key is", id="another digest"),
        pytest.param(changed(key="runs/x"), InvalidArtifact, "artifact.key is 'runs/x'", id="another key"),
        pytest.param(changed(bucket="evil"), InvalidArtifact, "artifact.bucket is 'evil'", id="another bucket"),
        pytest.param(changed(size=1), InvalidArtifact, "artifact.size is 1", id="another size"),
        pytest.param(other_file, InvalidArtifact, r"files\[policy.onnx\].key", id="a manifest that names another file"),
        pytest.param(other_version_of_the_file, DigestMismatch, "changed", id="another version of its own file"),
        pytest.param(resized(10), TooLarge, "more than the 10 bytes", id="a file said to be shorter than it is"),
        pytest.param(resized(10_000), InvalidArtifact, "size is 10000, but", id="a file said to be longer than it is"),
        pytest.param(resized(2**31), TooLarge, "together they must not exceed", id="more than a reader should hold"),
        pytest.param(unpinned_file, InvalidArtifact, "no version id", id="a file without a version id"),
        pytest.param(twice_the_same_path, InvalidArtifact, "each path must be given once", id="two files of one path"),
        pytest.param(no_manifest_at_all, InvalidArtifact, "malformed", id="content that is no manifest"),
    ],
)
def test_a_forged_artifact_is_refused_with_a_sentence(
    policies: Store,
    artifact: Artifact,
    forge: Callable[[Store, Artifact], Artifact],
    kind: type[StoreError],
    words: str,
) -> None:
    with pytest.raises(StoreError, match=words) as caught:
        load(policies, forge(policies, artifact))
    assert type(caught.value) is kind
    assert not caught.value.temporary


@pytest.mark.parametrize(
    ("path", "data", "kind"),
    [
        pytest.param("policy.onnx", b"E" * len(FILES["policy.onnx"]), DigestMismatch, id="other bytes"),
        pytest.param("policy.onnx", FILES["policy.onnx"] + b"!", TooLarge, id="more bytes"),
        pytest.param("policy.onnx", FILES["policy.onnx"][:-1], DigestMismatch, id="fewer bytes"),
        pytest.param("policy.onnx", None, NotFound, id="no bytes"),
        pytest.param(MANIFEST, b"{}", DigestMismatch, id="another manifest"),
    ],
)
def test_an_export_that_was_changed_is_not_published(
    runs: Store, policies: Store, exported: FileReference, path: str, data: bytes | None, kind: type[StoreError]
) -> None:
    key = f"{ATTEMPT}artifact/{path}"
    if data is None:
        runs.delete(key)
    else:
        runs.put(key, data)
    with pytest.raises(kind):
        publish(runs, policies, exported)
    assert policies.versions("") == []


def test_a_manifest_larger_than_any_is_not_read(runs: Store) -> None:
    stored = runs.put("m", secrets.token_bytes(artifacts.MANIFEST_LIMIT + 1))
    with pytest.raises(TooLarge):
        load_run(runs, FileReference(key="m", digest=stored.digest, size=stored.size))


def test_policies_are_not_published_where_no_versions_are_kept(runs: Store, exported: FileReference) -> None:
    with pytest.raises(InvalidArtifact, match="the policies bucket must keep versions"):
        publish(runs, runs, exported)


def test_unknown_fields_of_a_later_manifest_do_not_hide_it(runs: Store, exported: FileReference) -> None:
    before = load_run(runs, exported)
    data = runs.get(exported.key, digest=exported.digest).replace(b"{", b'{"later":1,', 1)
    stored = runs.put(exported.key, data)
    later = FileReference(key=stored.key, digest=stored.digest, size=stored.size)
    assert load_run(runs, later) == before
