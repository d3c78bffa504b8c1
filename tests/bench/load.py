"""Compiles and runs the load client (load.c), on a core of its own where there are two."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import cache
from tests.cluster.processes import run

SERVER_CORE, CLIENT_CORE = 0, 1
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Target:
    """How a server is asked. With `episode_steps` the bodies are observations, and episodes carry tokens."""

    port: int
    path: str
    bodies: Sequence[str]
    episode_steps: int = 0
    authorization: str = ""
    stream: str = ""

    @property
    def first_body(self) -> str:
        """One whole request."""
        return f'{{"observation":{self.bodies[0]}}}' if self.episode_steps else self.bodies[0]


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """What is started here runs on one core, as do the things that it starts."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core} & before or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def compiled(name: str) -> Path:
    """The program of NAME.c, compiled once for each of its texts."""
    source = HERE / f"{name}.c"
    program = cache.folder("bench", "bin") / f"{name}-{cache.digest([source])}"
    with cache.locked("bench"):
        if not program.exists():
            made = program.with_suffix(".new")
            run("the compilation", ["cc", "-O2", "-o", made, source])
            made.rename(program)
    return program


def measure(
    target: Target, connections: int, folder: Path, *, seconds: float, warm_up: float, stream: bool = False
) -> dict[str, Any]:
    """Requests, errors and latencies (microseconds). Raises RuntimeError where nothing can be measured."""
    bodies = folder / f"bodies-{target.port}"
    bodies.write_text("".join(f"{body}\n" for body in target.bodies))
    way = ("websocket", target.stream) if stream else ("http", target.path)
    numbers = (target.port, connections, warm_up, seconds)
    command = [compiled("load"), *numbers, *way, bodies, target.episode_steps]
    command += [target.authorization] if target.authorization else []
    with pinned(CLIENT_CORE):
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=seconds + warm_up + 60, check=False
        )
    if done.returncode:
        raise RuntimeError(f"the load client failed: {done.stderr.strip()[:500]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
