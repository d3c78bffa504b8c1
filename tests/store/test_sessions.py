"""Who may do what, asked of a real MinIO."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from minio.minioadmin import MinioAdmin
from minio.objectlockconfig import DAYS, ObjectLockConfig
from tests.store.conftest import ATTEMPT, JOB, Buckets

import checkrein
from checkrein.api.spaces import Interface
from checkrein.api.tasks import StoreCredentials, StoreLocation
from checkrein.store import artifacts, buckets, sessions
from checkrein.store.client import Store
from checkrein.store.credentials import RenewingProvider
from checkrein.store.errors import AccessDenied, StoreError, StoreRefused, StoreUnavailable, translated
from checkrein.store.install import install
from checkrein.store.reservations import reserve_version

LOG = "decisions/c/ns/agent-uid/"
EVERY_KEY = (f"{ATTEMPT}x", f"{JOB}1/evaluate/x", f"{JOB}10/train/x", f"{JOB[:-1]}2/1/train/x")

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(checkrein.__file__).parents[1])}
NOWHERE = Buckets("127.0.0.1:1", StoreCredentials(access_key="a", secret_key="b"), "policies", "runs", "decisions")


@pytest.fixture
def operator(installation: Buckets) -> StoreCredentials:
    """The operator's own user, as installed."""
    made = StoreCredentials(access_key=f"operator-{installation.runs}", secret_key="operator-secret")
    installed(installation, made)
    return made


def installed(installation: Buckets, operator: StoreCredentials, administrator: StoreCredentials | None = None) -> None:
    """What an administrator does once."""
    location = installation.location(installation.runs)
    install(location, administrator or installation.owner, operator, installation.policies, installation.decisions)


@pytest.fixture
def trainer(installation: Buckets, operator: StoreCredentials, runs: Store, policies: Store) -> Store:
    """A trainer's session, in a store that holds things of others too."""
    for key in EVERY_KEY:
        runs.put(key, b"there")
    policies.put("x", b"there")
    location = installation.location(installation.runs, read=JOB, write=ATTEMPT)
    session = sessions.mint(location, operator, sessions.run_policy(location), 3600)
    return Store(location, lambda: session)


@pytest.fixture
def agent(installation: Buckets, operator: StoreCredentials, runs: Store, policies: Store) -> Store:
    runs.put("x", b"there")
    policies.put("x", b"there")
    location = installation.location(installation.policies)
    log = installation.location(installation.decisions, write=LOG)
    session = sessions.mint(location, operator, sessions.agent_policy(location, log), 3600)
    return Store(location, lambda: session)


def elsewhere(store: Store, bucket: str) -> Store:
    """The same session, in another bucket."""
    return Store(store.location.model_copy(update={"bucket": bucket}), store.credentials)


def allowed(action: Callable[[], object]) -> bool:
    try:
        action()
    except AccessDenied:
        return False
    return True


@pytest.mark.store
@pytest.mark.parametrize(
    ("action", "expected"),
    [
        pytest.param(lambda s: s.put(f"{ATTEMPT}new", b""), True, id="writes below its attempt"),
        pytest.param(lambda s: s.put(f"{ATTEMPT}big", bytes(6_000_000)), True, id="writes in several parts"),
        pytest.param(lambda s: s.put_content(ATTEMPT, b"1"), True, id="writes content below its attempt"),
        pytest.param(lambda s: s.put(f"{JOB}1/evaluate/x", b""), False, id="not where the evaluator writes"),
        pytest.param(lambda s: s.put(f"{JOB}10/train/x", b""), False, id="not below attempt 10, being 1"),
        pytest.param(lambda s: s.put(f"{JOB[:-1]}2/1/train/x", b""), False, id="not below a namesake's job"),
        pytest.param(lambda s: s.delete(f"{ATTEMPT}x"), False, id="deletes nothing, be it its own"),
        pytest.param(lambda s: s.read_unverified(f"{JOB}10/train/x", 9), True, id="reads its job's other attempts"),
        pytest.param(lambda s: s.read_unverified(f"{JOB[:-1]}2/1/train/x", 9), False, id="reads no other job"),
        pytest.param(lambda s: s.list(JOB), True, id="lists its job"),
        pytest.param(lambda s: s.list(JOB[:-1]), False, id="does not list what only starts like its job"),
        pytest.param(lambda s: s.list(""), False, id="does not list everything"),
    ],
)
def test_a_trainer(trainer: Store, action: Callable[[Store], object], expected: bool) -> None:
    assert allowed(lambda: action(trainer)) is expected


@pytest.mark.store
def test_a_trainer_reaches_no_policies(trainer: Store, installation: Buckets) -> None:
    policies = elsewhere(trainer, installation.policies)
    assert not allowed(lambda: policies.read_unverified("x", 9))
    assert not allowed(lambda: policies.put(f"{ATTEMPT}x", b""))


@pytest.mark.store
@pytest.mark.parametrize(
    ("action", "expected"),
    [
        pytest.param(lambda s: s.read_unverified("sha256/ab/abc", 9), True, id="reads what is published"),
        pytest.param(lambda s: s.read_unverified("history/c/ns/a/1", 9), False, id="and nothing beside it"),
        pytest.param(lambda s: s.list("sha256/"), False, id="lists none: it is told what to load"),
        pytest.param(lambda s: s.put("sha256/ab/abd", b""), False, id="publishes nothing"),
    ],
)
def test_an_evaluator_asks_the_version_before(
    installation: Buckets,
    operator: StoreCredentials,
    policies: Store,
    action: Callable[[Store], object],
    expected: bool,
) -> None:
    for key in ("sha256/ab/abc", "history/c/ns/a/1"):
        policies.put(key, b"there")
    location = installation.location(installation.runs, read=JOB, write=ATTEMPT)
    published = installation.location(installation.policies, read="sha256/")
    session = sessions.mint(location, operator, sessions.run_policy(location, published), 3600)
    assert allowed(lambda: action(Store(published, lambda: session))) is expected
    assert allowed(lambda: Store(location, lambda: session).put(f"{ATTEMPT}x", b""))


@pytest.mark.store
def test_a_trainer_exports_and_the_operator_publishes(
    trainer: Store, operator: StoreCredentials, installation: Buckets, interface: Interface
) -> None:
    exported = artifacts.export(trainer, {"policy.onnx": b"1"}, interface, "PPO", opset=17)
    runs, policies = (
        Store(installation.location(b), lambda: operator) for b in (installation.runs, installation.policies)
    )
    published = artifacts.publish(runs, policies, exported)
    assert reserve_version(policies, "c", "ns", "p", "job") == 1
    location = installation.location(installation.policies)
    session = sessions.mint(location, operator, sessions.agent_policy(location), 3600)
    assert artifacts.load(Store(location, lambda: session), published).files == {"policy.onnx": b"1"}


@pytest.mark.store
@pytest.mark.parametrize(
    ("action", "expected"),
    [
        pytest.param(lambda s: s.read_unverified("x", 9), True, id="reads policies"),
        pytest.param(lambda s: s.put("y", b""), False, id="writes none"),
        pytest.param(lambda s: s.delete("x"), False, id="deletes none"),
        pytest.param(lambda s: s.list(""), False, id="lists none: it is told what to load"),
    ],
)
def test_an_agent(agent: Store, action: Callable[[Store], object], expected: bool) -> None:
    assert allowed(lambda: action(agent)) is expected


@pytest.mark.store
def test_an_agent_reads_pinned_versions_but_no_runs(agent: Store, policies: Store, installation: Buckets) -> None:
    version = policies.put("x", b"1").version_id
    policies.delete("x")
    assert agent.read_unverified("x", 9, version) == b"1"
    assert not allowed(lambda: elsewhere(agent, installation.runs).read_unverified("x", 9))


@pytest.mark.store
@pytest.mark.parametrize(
    ("action", "expected"),
    [
        pytest.param(lambda s: s.put(f"{LOG}replica/0", b""), True, id="adds to its log"),
        pytest.param(lambda s: s.put(f"{LOG}replica/0", bytes(6_000_000)), True, id="in several parts"),
        pytest.param(lambda s: s.put(f"{LOG[:-1]}2/replica/0", b""), False, id="not to a namesake's"),
        pytest.param(lambda s: s.put("x", b""), False, id="not elsewhere"),
        pytest.param(lambda s: s.read_unverified(f"{LOG}there", 9), False, id="reads nothing back"),
        pytest.param(lambda s: s.list(LOG), False, id="lists nothing"),
        pytest.param(lambda s: s.delete(f"{LOG}there"), False, id="hides nothing behind a delete marker"),
    ],
)
def test_an_agents_log_only_grows(
    agent: Store, installation: Buckets, action: Callable[[Store], object], expected: bool
) -> None:
    installation.store(installation.decisions).put(f"{LOG}there", b"there")
    assert allowed(lambda: action(elsewhere(agent, installation.decisions))) is expected


@pytest.mark.store
def test_the_operator_reads_the_logs(operator: StoreCredentials, installation: Buckets) -> None:
    stored = installation.store(installation.decisions).put(f"{LOG}there", b"there")
    mine = Store(installation.location(installation.decisions), lambda: operator)
    assert [o.key for o in mine.list(LOG)] == [f"{LOG}there"]
    assert mine.get(f"{LOG}there", digest=stored.digest, version_id=stored.version_id) == b"there"


@pytest.mark.store
@pytest.mark.parametrize("which", ["policies", "decisions"])
def test_the_operator_may_not_undo_what_was_published_or_logged(
    operator: StoreCredentials, installation: Buckets, which: str
) -> None:
    bucket = getattr(installation, which)
    mine = Store(installation.location(bucket), lambda: operator)
    mine.put("x", b"1")
    assert not allowed(lambda: mine.delete("x"))
    for weaken in (
        lambda c, b: c.set_object_lock_config(b, ObjectLockConfig(None, None, None)),
        lambda c, b: c.set_object_lock_config(b, ObjectLockConfig("COMPLIANCE", 1, DAYS)),
        lambda c, b: c.set_bucket_policy(b, "{}"),
        lambda c, b: c.remove_bucket(b),
        lambda c, b: c.make_bucket(f"{b}-2"),
    ):
        with pytest.raises(AccessDenied), translated("weaken the bucket"):
            weaken(mine.client, bucket)


@pytest.mark.store
def test_the_operator_finds_the_installed_buckets_in_order(operator: StoreCredentials, installation: Buckets) -> None:
    mine = Store(installation.location(installation.runs), lambda: operator)
    buckets.ensure(mine, installation.policies, installation.runs, installation.decisions)
    mine.put("x", b"1")
    mine.delete("x")
    assert mine.list("") == []


@pytest.mark.store
def test_installing_again_changes_nothing(operator: StoreCredentials, installation: Buckets) -> None:
    installed(installation, operator)
    assert Store(installation.location(installation.runs), lambda: operator).list("") == []


@pytest.mark.store
def test_the_command_line_installs(installation: Buckets, tmp_path: Path) -> None:
    made = StoreCredentials(access_key=f"made-{installation.runs}", secret_key="operator-secret")
    for name, credentials in (("administrator", installation.owner), ("operator", made)):
        (tmp_path / name).write_text(credentials.model_dump_json(by_alias=True))
    command = ["--endpoint", installation.endpoint, "--insecure", "--retention-days", "2"]
    command += ["--policies-bucket", f"{installation.policies}-made", "--runs-bucket", f"{installation.runs}-made"]
    command += ["--decisions-bucket", f"{installation.decisions}-made"]
    command += ["--administrator", str(tmp_path / "administrator"), "--operator", str(tmp_path / "operator")]
    subprocess.run([sys.executable, "-m", "checkrein.store.install", *command], check=True, env=ENVIRONMENT)
    for bucket in (f"{installation.policies}-made", f"{installation.decisions}-made"):
        mine = Store(installation.location(bucket), lambda: made)
        assert mine.client.get_object_lock_config(bucket).duration == 2
        assert mine.put("x", b"1").version_id


@pytest.mark.store
def test_only_an_administrator_installs(operator: StoreCredentials, installation: Buckets) -> None:
    with pytest.raises(StoreRefused, match="cannot create the operator's user"):
        installed(installation, operator, administrator=operator)


@pytest.mark.store
@pytest.mark.parametrize(
    ("asked", "given"),
    [
        pytest.param(60, timedelta(hours=1), id="no less than an hour"),
        pytest.param(2 * 3600, timedelta(hours=2), id="what was asked"),
        pytest.param(10**7, timedelta(days=7), id="no more than a week"),
    ],
)
def test_a_session_says_when_it_ends(
    operator: StoreCredentials, installation: Buckets, asked: int, given: timedelta
) -> None:
    location = installation.location(installation.policies)
    session = sessions.mint(location, operator, sessions.agent_policy(location), asked)
    assert session.expiration is not None
    assert abs(session.expiration - datetime.now(UTC) - given) < timedelta(minutes=1)


@pytest.mark.store
def test_a_session_mints_no_other(trainer: Store, installation: Buckets) -> None:
    location = installation.location(installation.policies)
    with pytest.raises(AccessDenied):
        sessions.mint(location, trainer.credentials(), sessions.agent_policy(location), 3600)


@pytest.mark.store
def test_a_session_dies_with_the_user_that_minted_it(
    trainer: Store, operator: StoreCredentials, installation: Buckets
) -> None:
    admin = MinioAdmin(
        endpoint=installation.endpoint,
        credentials=RenewingProvider(installation.keys),
        secure=False,
        region="us-east-1",
    )
    admin.user_remove(operator.access_key)
    with pytest.raises(StoreError, match="cannot list"):
        trainer.list(JOB)


@pytest.mark.store
def test_an_unknown_minter_is_denied_with_the_mend(installation: Buckets) -> None:
    nobody = StoreCredentials(access_key="nobody", secret_key="whatever")
    location = installation.location(installation.policies)
    with pytest.raises(AccessDenied, match="the operator's store user must exist"):
        sessions.mint(location, nobody, sessions.agent_policy(location), 3600)


def test_without_a_server_minting_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable, match=r"cannot mint a session at 127\.0\.0\.1:1: "):
        sessions.mint(NOWHERE.location("policies"), NOWHERE.owner, {}, 3600)


@pytest.mark.parametrize(
    ("read", "write", "words"),
    [
        pytest.param("", ATTEMPT, "store.readPrefix must name", id="no prefix would be every job's"),
        pytest.param("runs/*/", "", r"must not contain \*", id="a wildcard to read"),
        pytest.param(JOB, "runs/${aws:username}/", "must not contain", id="a variable to write"),
    ],
)
def test_a_prefix_that_would_grant_more_is_refused(read: str, write: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sessions.run_policy(NOWHERE.location("runs", read=read, write=write))


def test_an_evaluator_that_would_read_all_of_the_policies_bucket_is_refused() -> None:
    with pytest.raises(ValueError, match=r"policies\.readPrefix must name what is published"):
        sessions.run_policy(NOWHERE.location("runs", read=JOB), NOWHERE.location("policies"))


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        pytest.param("", "decisions.writePrefix must name", id="no prefix would be everybody's log"),
        pytest.param("decisions/*/", r"must not contain \*", id="a wildcard"),
    ],
)
def test_a_log_that_is_not_one_deployments_is_refused(prefix: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sessions.agent_policy(NOWHERE.location("policies"), NOWHERE.location("decisions", write=prefix))


def test_without_a_write_prefix_nothing_may_be_written() -> None:
    granted = sessions.run_policy(NOWHERE.location("runs", read=JOB))["Statement"]
    assert "s3:PutObject" not in {action for statement in granted for action in statement["Action"]}


def test_a_store_that_takes_the_request_and_never_answers_is_given_up_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        location = StoreLocation(endpoint=f"127.0.0.1:{hangs.getsockname()[1]}", secure=False, bucket="runs")
        location = location.model_copy(update={"read_prefix": JOB, "write_prefix": ATTEMPT})
        minter = StoreCredentials(access_key="a", secret_key="b" * 8)
        with pytest.raises(StoreUnavailable, match=r"read timeout=5"):
            sessions.mint(location, minter, sessions.run_policy(location), 3600)
