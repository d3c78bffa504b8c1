"""The servers that are measured, each started afresh on one core: how it is asked, when it answers, what it weighs."""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from tests.bench.load import HERE, SERVER_CORE, Target, compiled, pinned
from tests.bench.network import observations
from tests.cluster import cache
from tests.cluster.processes import State, free_port, run, tail

PEERS = HERE / "peers"
OBSERVATIONS = observations(64)
START_SECONDS = 120


@dataclass
class Running:
    """A server that answers. `ready_seconds`: from the start of its process to its first answer.

    `management` is the address at which a replica of ours tells its metrics.
    """

    target: Target
    process: psutil.Process
    ready_seconds: float = 0
    management: str = ""

    def megabytes(self) -> float:
        """Resident memory of the whole tree of processes; what they share counts once."""
        tree = [self.process, *self.process.children(recursive=True)]
        if len(tree) == 1:
            return float(self.process.memory_info().rss / 1e6)
        return float(sum(one.memory_full_info().pss for one in tree) / 1e6)

    def cpu_seconds(self) -> float:
        """What the tree has used of the processor."""
        tree = [self.process, *self.process.children(recursive=True)]
        return float(sum(sum(one.cpu_times()[:2]) for one in tree))

    def stop(self) -> None:
        """Ends the tree: asks its root, then ends what is left of it."""
        tree = [self.process, *self.process.children(recursive=True)]
        with suppress(psutil.NoSuchProcess):
            self.process.terminate()
        _, left = psutil.wait_procs(tree, timeout=10)
        for one in left:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(left, timeout=10)


@dataclass(frozen=True)
class Server:
    """`start` starts it below a folder of its own and returns before it answers."""

    name: str
    start: Callable[[State], Running]


def started(server: Server, state: State) -> Running:
    """A server that has given its first answer. Raises RuntimeError with the log's end where it does not."""
    with pinned(SERVER_CORE):
        running = server.start(state)
    deadline = time.time() + START_SECONDS
    while not answers(running.target):
        if not running.process.is_running() or running.process.status() == "zombie" or time.time() > deadline:
            running.stop()
            raise RuntimeError(f"{server.name} gave no answer: {_last_log(state)}")
        time.sleep(0.005)
    running.ready_seconds = age(running.process.pid)
    return running


def age(pid: int) -> float:
    """Seconds since this process began, to 10 ms: by the clock that the kernel counts it by, which nobody sets."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def answers(target: Target) -> bool:
    """Whether one request gets a 200."""
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=5)
    headers = {"content-type": "application/json"}
    headers |= {"authorization": target.authorization} if target.authorization else {}
    try:
        connection.request("POST", target.path, target.first_body, headers)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def peer(name: str, script: str, path: str, body: Callable[[list[float]], object], model: Path) -> Server:
    """A server of others, from its pinned packages. Raises ClusterError where those cannot be installed."""
    python = environment(name)
    bodies = [json.dumps(body(observation)) for observation in OBSERVATIONS]

    def start(state: State) -> Running:
        port, folder = free_port(), state.path / f"{name}-{time.monotonic_ns()}"
        folder.mkdir()
        env = {"BENCH_PORT": str(port), "BENCH_MODEL": str(model), "BENCH_FOLDER": str(folder)}
        return _run(state, name, [python, PEERS / script], env, Target(port, path, bodies))

    return Server(name, start)


def environment(name: str) -> Path:
    """The Python of a peer's own virtual environment, made once for each list of packages. Raises ClusterError."""
    packages = PEERS / f"{name}.txt"
    folder = cache.folder("bench") / f"{name}-{cache.digest([packages, sys.version.encode()])}"
    with cache.locked("bench"):
        if not (folder / "complete").exists():
            run(f"making {name}'s environment", [sys.executable, "-m", "venv", "--clear", folder])
            pip: list[str | Path] = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
            run(f"installing {name}", [*pip, "--requirement", packages])
            (folder / "complete").touch()
    return folder / "bin" / "python"


def c_echo() -> Server:
    """The floor: nothing but HTTP, in C."""
    program = compiled("echo")

    def start(state: State) -> Running:
        port = free_port()
        return _run(state, "c-echo", [program, str(port)], {}, _echoed(port))

    return Server("C echo", start)


def asgi_echo() -> Server:
    """The floor of our kind: uvicorn with the same parts as ours, and an application that only echoes."""

    def start(state: State) -> Running:
        port = free_port()
        # -P: beside the script lies an operator.py, which is not the library's.
        command: list[str | Path] = [sys.executable, "-P", HERE / "asgi_echo.py", str(port)]
        return _run(state, "asgi-echo", command, {}, _echoed(port))

    return Server("uvicorn echo", start)


def _echoed(port: int) -> Target:
    return Target(port, "/", [json.dumps({"observation": o}) for o in OBSERVATIONS])


def _run(state: State, name: str, command: Sequence[str | Path], env: Mapping[str, str], target: Target) -> Running:
    # Numerical libraries would start a thread for each core of the machine; every server here has one.
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = state.start(f"{name}-{time.monotonic_ns()}", command, env={**single, **env})
    return Running(target, psutil.Process(process.identity.pid))


def _last_log(state: State) -> str:
    logs = sorted((state.path / "log").iterdir(), key=os.path.getmtime)
    return tail(logs[-1]) if logs else "it left no log"
