"""Processes that end with whoever started them, and folders that tell the next run what a killed one left."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.cluster import cgroups
from tests.cluster.cache import folder, locked
from tests.cluster.steps import ClusterError, say, wait_until

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
REMOVAL_SECONDS = 60
PORTS = range(20_000, 32_000)  # below those that the kernel itself gives to connections and to port 0
LOG_TAIL = 1500  # characters of a failing component's log that are shown


@dataclass(frozen=True)
class Identity:
    """One process, told from a later one with the same pid."""

    pid: int
    started: str  # the boot's id and the start time in the kernel's clock ticks

    @classmethod
    def of(cls, pid: int) -> Identity:
        """Raises ProcessLookupError where no such process runs."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            raise ProcessLookupError(pid) from None
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return cls(pid, f"{boot}/{stat.rpartition(')')[2].split()[19]}")

    def alive(self) -> bool:
        """True while this very process runs; a zombie does not."""
        try:
            status = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
            return status != "Z" and Identity.of(self.pid) == self
        except (FileNotFoundError, ProcessLookupError):
            return False

    def kill(self) -> None:
        """Ends it and waits until it is gone."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            wait_until(
                lambda: not self.alive(), 60, otherwise=lambda: ClusterError(f"Process {self.pid} does not end.")
            )
        with contextlib.suppress(ChildProcessError):  # one of ours would stay as a zombie
            os.waitpid(self.pid, os.WNOHANG)


class Process:
    """One started program. Its output goes to a log file whose tail explains a failure."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self.identity = Identity.of(popen.pid)
        self._popen = popen

    def alive(self) -> bool:
        """True while it runs."""
        return self._popen.poll() is None

    def stop(self, seconds: float = 10) -> None:
        """Asks it to end, and ends it after `seconds`."""
        self._popen.terminate()
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def terminate(self) -> None:
        """Asks it to end (SIGTERM), and does not wait."""
        self._popen.terminate()

    def kill(self) -> None:
        """Ends it without asking (SIGKILL)."""
        self._popen.kill()
        self._popen.wait()

    def wait_ready(self, condition: Callable[[], bool], seconds: float = 180) -> None:
        """Returns once `condition` holds. Raises ClusterError with the log's tail if it ends first or is too slow."""

        def failure(what: str) -> ClusterError:
            return ClusterError(f"{self.name} {what}. The end of {self.log}:\n{tail(self.log)}")

        def ready() -> bool:
            if not self.alive():
                raise failure(f"ended with exit code {self._popen.returncode}")
            return condition()

        wait_until(ready, seconds, otherwise=lambda: failure(f"is not ready after {seconds:.0f} s"))


class State:
    """What one running thing left on disk: who it belongs to, its processes, its logs.

    A thing with an owner ends with that process; one without (owner None) runs until someone takes it down.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path / "state.json"

    @classmethod
    def create(cls, name: str, *, owned: bool, cgroup: str = "") -> State:
        """A new folder. An owned one is swept when this process is gone. Raises FileExistsError.

        `cgroup` names a control group below the roots of all controllers: made here, removed with the folder.
        """
        state = cls.named(name)
        with locked("run"):
            (state.path / "log").mkdir(parents=True)
            owner = vars(Identity.of(os.getpid())) if owned else None
            state._write({"owner": owner, "cgroup": cgroup, "processes": []})
        if cgroup:
            cgroups.create(cgroup)
        return state

    @classmethod
    def named(cls, name: str) -> State:
        """The folder of that name, whether it is there or not."""
        return cls(folder("run") / name)

    @classmethod
    def all(cls) -> list[State]:
        """Every folder of this cache, running or left over."""
        return [cls(path) for path in sorted(folder("run").iterdir())]

    @property
    def exists(self) -> bool:
        """True while the folder is there."""
        return self._file.exists()

    @property
    def abandoned(self) -> bool:
        """True where the owner is gone, or was killed before it could say who it was."""
        content = self._read()
        owner = content["owner"] if content else None
        return content is None or (owner is not None and not Identity(**owner).alive())

    @property
    def processes(self) -> list[Identity]:
        """What was started, in order."""
        content = self._read()
        return [Identity(**recorded) for recorded in content["processes"]] if content else []

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Process:
        """Starts a program in a session of its own. An owned one is killed by the kernel when this process ends.

        Call it from the main thread: the kernel watches the thread that started the program.
        """
        log = self.path / "log" / f"{name}.log"
        content = self._read()
        assert content is not None, f"{self.path} was removed"
        with log.open("ab") as output:
            popen = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | dict(env or {}),
                cwd=cwd or self.path,
                start_new_session=True,
                preexec_fn=partial(_die_with, os.getpid()) if content["owner"] else None,
            )
        process = Process(name, popen, log)
        content["processes"].append(vars(process.identity))
        self._write(content)
        return process

    def remove(self) -> None:
        """Ends what still runs, last started first, and removes the folder."""
        for process in reversed(self.processes):
            process.kill()
        if (content := self._read()) and content["cgroup"]:
            cgroups.remove(content["cgroup"])
        _remove(self.path)

    def _read(self) -> dict[str, Any] | None:
        """None where there is none, or its owner removes the folder just now."""
        try:
            content: dict[str, Any] = json.loads(self._file.read_text())
        except (FileNotFoundError, NotADirectoryError):
            return None
        return content

    def _write(self, content: Mapping[str, object]) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(content, indent=1))
        new.rename(self._file)


def _remove(folder: Path) -> None:
    """The folder, though threads of a killed process may still write to it for a moment. Raises OSError."""
    deadline = time.monotonic() + REMOVAL_SECONDS
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _die_with(parent: int) -> None:
    """In the new process, before it becomes the program: asks the kernel to kill it when its parent's thread ends."""
    if LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL) or os.getppid() != parent:
        os._exit(1)


def run(
    name: str, command: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> str:
    """Runs a program to its end, or to ours, and returns its output. Raises ClusterError with the output's end."""
    try:
        done = subprocess.run(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | dict(env or {}),
            cwd=cwd,
            text=True,
            check=False,
            preexec_fn=partial(_die_with, os.getpid()),
        )
    except FileNotFoundError as error:
        raise ClusterError(f"{name} needs `{error.filename}`, which is not on PATH.") from None
    if done.returncode:
        raise ClusterError(f"{name} failed with exit code {done.returncode}:\n{done.stdout[-LOG_TAIL:]}")
    return done.stdout


def run_visibly(name: str, command: Sequence[str | Path], *, cwd: Path) -> None:
    """Runs one of our own programs, which says itself what it does and why it fails. Raises ClusterError."""
    done = subprocess.run(
        list(map(str, command)),
        stdin=subprocess.DEVNULL,
        cwd=cwd,
        check=False,
        preexec_fn=partial(_die_with, os.getpid()),
    )
    if done.returncode:
        raise ClusterError(f"{name} failed: the reason is above.")


def tail(log: Path) -> str:
    """The end of a log, for an error message."""
    return log.read_text(errors="replace")[-LOG_TAIL:] if log.exists() else "(no log)"


def free_port() -> int:
    """A port of the loopback address that nothing listens on. Nobody else gets it before all others had their turn."""
    with locked("ports"):
        last = folder() / "last-port"
        found = int((last.read_text() if last.exists() else "") or random.choice(PORTS))
        while True:
            found = found + 1 if found + 1 in PORTS else PORTS.start
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", found))
                break
        last.write_text(str(found))
    return found


def sweep() -> None:
    """Removes what owners that are gone left behind."""
    for state in State.all():
        with locked("run"):
            if state.path.exists() and state.abandoned:  # another run may have swept it meanwhile
                say(f"removing what an earlier run left in {state.path}")
                state.remove()
