"""The services of the test run: real ones, reachable, and gone with whoever started them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from minio import Minio as Client
from minio.commonconfig import COMPLIANCE
from minio.objectlockconfig import DAYS, ObjectLockConfig
from tests.cluster.cache import REPOSITORY
from tests.cluster.controlplane import ControlPlane
from tests.cluster.kubectl import KubectlError
from tests.cluster.minio import Minio
from tests.cluster.processes import Identity, State, sweep
from tests.cluster.steps import ClusterError, wait_until

STARTS_AND_WAITS = """
import sys, time
from tests.cluster.processes import State
state = State.create(sys.argv[1], owned=True)
state.start("sleeper", ["sleep", "600"])
print("started", flush=True)
sys.stdin.read()
"""


@pytest.mark.store
def test_a_bucket_with_object_lock_can_be_made(minio: Minio) -> None:
    client = Client(minio.endpoint, minio.access_key, minio.secret_key, secure=False)
    client.make_bucket("locked", object_lock=True)
    client.set_object_lock_config("locked", ObjectLockConfig(COMPLIANCE, 1, DAYS))
    assert client.get_object_lock_config("locked").mode == COMPLIANCE


@pytest.mark.controlplane
def test_objects_are_applied_and_read_back(controlplane: ControlPlane) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "written"}, "data": {"key": "value"}}
    controlplane.kubectl.apply(config)
    assert controlplane.kubectl.get("configmap", "written")["data"] == {"key": "value"}


@pytest.mark.controlplane
def test_an_unknown_field_is_refused(controlplane: ControlPlane) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "refused"}, "dta": {}}
    with pytest.raises(KubectlError, match="dta"):
        controlplane.kubectl.apply(config)


@pytest.mark.controlplane
def test_writes_are_found_in_the_audit_log(controlplane: ControlPlane) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "audited"}}
    controlplane.kubectl.apply(config)
    events = [json.loads(line) for line in controlplane.audit_lines()]
    assert "patch" in {event["verb"] for event in events if event.get("objectRef", {}).get("name") == "audited"}


def test_what_a_killed_run_started_dies_with_it_and_its_folder_is_swept() -> None:
    name = f"killed-{os.getpid()}"
    run = subprocess.Popen(
        [sys.executable, "-c", STARTS_AND_WAITS, name], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert run.stdout is not None
    assert run.stdout.readline() == b"started\n"
    state = next(state for state in State.all() if state.path.name == name)
    [sleeper] = state.processes
    assert sleeper.alive()
    assert not state.abandoned

    run.send_signal(signal.SIGKILL)
    run.communicate()
    wait_until(lambda: not sleeper.alive(), 60, otherwise=lambda: ClusterError("The sleeper survived its starter."))
    sweep()
    assert not state.path.exists()


def test_a_later_process_with_the_same_pid_is_another_one() -> None:
    mine = Identity.of(os.getpid())
    assert mine.alive()
    assert not Identity(mine.pid, mine.started + "0").alive()


def test_a_program_that_fails_to_start_is_explained_by_its_log(tmp_path: Path) -> None:
    state = State.create(f"failing-{os.getpid()}", owned=True)
    try:
        process = state.start("ls", ["ls", tmp_path / "absent"])
        with pytest.raises(ClusterError, match=r"(?s)ls ended with exit code 2.*No such file"):
            process.wait_ready(lambda: False)
    finally:
        state.remove()


def test_a_folder_to_which_a_dying_process_writes_is_removed() -> None:
    state = State.named(f"written-{os.getpid()}")
    state.path.mkdir(parents=True)
    ends = time.monotonic() + 0.3

    def write() -> None:
        while time.monotonic() < ends:
            with contextlib.suppress(OSError):
                (state.path / "data").mkdir(exist_ok=True)
                (state.path / "data" / f"{time.monotonic()}").touch()

    with ThreadPoolExecutor(1) as dying:
        writing = dying.submit(write)
        state.remove()
        writing.result()
    assert not state.path.exists()


def test_a_sweep_meets_what_its_owner_removes_just_then(monkeypatch: pytest.MonkeyPatch) -> None:
    state, read = State.create(f"removed-{os.getpid()}", owned=True), Path.read_text

    def removed_before(path: Path) -> str:
        if path.parent == state.path:
            shutil.rmtree(state.path, ignore_errors=True)
        return read(path)

    monkeypatch.setattr(Path, "read_text", removed_before)
    sweep()
    assert not state.path.exists()


def test_two_runs_sweep_at_once() -> None:
    left = [State.named(f"left-{os.getpid()}-{number}") for number in range(20)]
    for state in left:
        state.path.mkdir(parents=True)
    with ThreadPoolExecutor(2) as runs:
        assert list(runs.map(lambda _: sweep(), range(2))) == [None, None]
    assert not any(state.path.exists() for state in left)
