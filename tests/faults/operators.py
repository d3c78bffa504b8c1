"""The operator as a process that is cheap to start again: forked from one that has its modules loaded."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.cluster.processes import LIBC, PR_SET_PDEATHSIG, free_port

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["checkrein.control.main", "tests.faults.mortal"])


def die_with_parent() -> None:
    """The kernel ends this process when its parent ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Operator:
    """checkrein-operator; dead when it is made. `folder` holds its settings, credentials and log.

    `user` is what its kubeconfig says of it, `token` what replicas know it by.

    `broken` breaks something in its process, to see that this is found.
    """

    def __init__(
        self,
        folder: Path,
        api: str,
        user: Mapping[str, str],
        settings: Mapping[str, Any],
        credentials: str,
        token: str,
        broken: Callable[[], None] | None = None,
    ) -> None:
        self.log = folder / "operator.log"
        self.starts = 0
        self._broken = broken
        self._process: Any = None
        cluster = {"name": "played", "cluster": {"server": api}}
        context = {"name": "played", "context": {"cluster": "played", "user": "played"}}
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "played", "contexts": [context]}
        config |= {"clusters": [cluster], "users": [{"name": "played", "user": dict(user)}]}
        files = {"config": json.dumps(config), "settings": json.dumps(settings), "credentials": credentials}
        for name, text in {**files, "token": token}.items():
            (folder / name).write_text(text)
        self._environment = {
            "KUBECONFIG": str(folder / "config"),
            "CHECKREIN_SETTINGS": str(folder / "settings"),
            "CHECKREIN_CREDENTIALS": str(folder / "credentials"),
            "CHECKREIN_TOKEN_FILE": str(folder / "token"),
        }

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    def start(self) -> None:
        """Starts it, and does not wait."""
        self.starts += 1
        environment = {**self._environment, "CHECKREIN_PORT": str(free_port())}
        self._process = CONTEXT.Process(target=_operate, args=(environment, self.log, self._broken), daemon=True)
        self._process.start()

    def signal(self, number: int) -> None:
        """Sends it one, if it runs."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def kill(self) -> None:
        """Returns once it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.join()


def _operate(environment: Mapping[str, str], log: Path, broken: Callable[[], None] | None) -> None:
    """In the new process."""
    die_with_parent()
    with log.open("ab") as output:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), stream.fileno())
    os.environ.update(environment)
    from checkrein.control import main

    if broken:
        broken()
    main.main()
