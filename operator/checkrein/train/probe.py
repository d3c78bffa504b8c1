"""Entry point `checkrein-probe`: can this environment be trained in?

The checks run in a child process, so that an environment that crashes, exits or hangs is reported like any other.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from checkrein.api.environment import RLEnvironmentSpec
from checkrein.api.tasks import ProbeReport, ProbeTask
from checkrein.train import checks, session
from checkrein.train.failures import Failed, describe

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

START = "Import"


def main() -> None:
    """Probe the environment of the task in CHECKREIN_TASK."""
    sys.exit(session.run(ProbeTask, probe, lambda failure: ProbeReport(failure=failure)))


def probe(task: ProbeTask) -> ProbeReport:
    """Run the checks in a child. Raises Failed where the child crashed or did not end in time."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(theirs, task.environment, task.timeout_seconds), daemon=True)
    child.start()
    theirs.close()
    try:
        return _listen(ours, child, task)
    finally:
        child.kill()
        child.join()


def _listen(pipe: Connection, child: SpawnProcess, task: ProbeTask) -> ProbeReport:
    """Follow the child from check to check until its report."""
    stage, deadline = START, time.monotonic() + task.timeout_seconds
    while pipe.poll(max(0.0, deadline - time.monotonic())):
        try:
            kind, text = pipe.recv_bytes().decode().split(" ", 1)
        except EOFError:
            child.join(timeout=5)
            raise _crashed(stage, child.exitcode, task) from None
        if kind == "report":
            return ProbeReport.model_validate_json(text)
        stage = text
    raise Failed(
        "EnvironmentHangs",
        f"spec.source.gymnasium.id: {task.environment.source.gymnasium.id} had not finished check {stage} "
        f"after {task.timeout_seconds} s; find what it waits for, or make it faster",
        permanent=True,
    )


def _crashed(stage: str, code: int | None, task: ProbeTask) -> Failed:
    how = f"exit code {code}"
    if code is not None and code < 0:
        with suppress(ValueError):
            how = signal.Signals(-code).name + (" (out of memory?)" if -code == signal.SIGKILL else "")
    return Failed(
        "EnvironmentCrashed",
        f"spec.source.gymnasium.id: {task.environment.source.gymnasium.id} ended its process with {how} "
        f"in check {stage}; correct the environment (the pod's log may say more)",
        permanent=True,
    )


def _child(pipe: Connection, spec: RLEnvironmentSpec, seconds: float) -> None:
    """The child's life: announce each check, send one report."""
    stage = START

    def announce(name: str) -> None:
        nonlocal stage
        stage = name
        pipe.send_bytes(f"stage {name}".encode())

    try:
        report = checks.probe(spec, seconds, announce)
    except Failed as error:
        report = ProbeReport(failure=error.failure)
    except Exception as error:  # noqa: BLE001 - whatever the environment raises is its own failure
        source = f"spec.source.gymnasium.id: {spec.source.gymnasium.id}"
        message = f"{source} raised {describe(error)} in check {stage}; correct the environment"
        report = ProbeReport(failure=Failed("EnvironmentFailed", message, permanent=True).failure)
    pipe.send_bytes(f"report {report.model_dump_json(by_alias=True)}".encode())
