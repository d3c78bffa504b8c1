"""How far training is, for `GET /progress` and `GET /metrics`. Nothing here runs unless somebody asks."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from checkrein.api.meta import format_duration
from checkrein.api.tasks import SERVING_PORT, TrainingProgress
from checkrein.api.training import CheckpointStatus, Progress
from checkrein.train.checkpoints import Checkpoints

PORT_VARIABLE = "CHECKREIN_PORT"
MOST_STEPS = 10**12
MOST_RETURN = 10**15


class Learner(Protocol):
    """What is read of the algorithm, from another thread: plain attributes."""

    num_timesteps: int
    ep_info_buffer: deque[Any] | None


def progress(
    *, steps: int, first: int, total: int, elapsed: float, left: float | None, returns: list[float]
) -> Progress:
    """Progress after `elapsed` s that led from step `first` to `steps`, with at most `left` s allowed to follow."""
    rate = (steps - first) / elapsed if elapsed > 0 else 0.0
    needed = (total - steps) / rate if rate > 0 else None
    seconds = min((s for s in (needed, left) if s is not None), default=None)
    mean = sum(returns) / len(returns) if returns else None
    return Progress(
        steps=min(steps, MOST_STEPS),
        total=total,
        percent=min(100, 100 * steps // total),
        eta=None if seconds is None else format_duration(timedelta(seconds=max(0.0, seconds))),
        episode_return=Decimal(f"{mean:.2f}") if mean is not None and abs(mean) < MOST_RETURN else None,
        steps_per_second=round(rate),
    )


class Meter:
    """Reads progress off a running algorithm. `duration`: seconds that this attempt may train, None for no limit."""

    def __init__(self, model: Learner, total: int, duration: float | None, checkpoints: Checkpoints) -> None:
        self._model, self._total, self._first = model, total, model.num_timesteps
        self._checkpoints = checkpoints
        self._start = time.monotonic()
        self.deadline = None if duration is None else self._start + duration

    @property
    def checkpoint(self) -> CheckpointStatus | None:
        """The newest one that is stored."""
        return self._checkpoints.newest

    def read(self) -> Progress:
        """Progress now."""
        now = time.monotonic()
        episodes = list(self._model.ep_info_buffer or ())
        return progress(
            steps=self._model.num_timesteps,
            first=self._first,
            total=self._total,
            elapsed=now - self._start,
            left=None if self.deadline is None else self.deadline - now,
            returns=[float(e["r"]) for e in episodes],
        )

    def collect(self) -> Iterator[Metric]:
        """For prometheus_client's registry."""
        now = self.read()
        values = {
            "steps": (float(now.steps), "Environment steps taken."),
            "steps_wanted": (float(now.total), "Environment steps of the budget."),
            "steps_per_second": (float(now.steps_per_second), "Environment steps per second of this attempt."),
            "episode_return": (float(now.episode_return or "nan"), "Mean return of the latest 100 episodes."),
            "checkpoint_step": (
                float(self.checkpoint.step if self.checkpoint else 0),
                "Step of the newest checkpoint.",
            ),
        }
        for name, (value, text) in values.items():
            yield GaugeMetricFamily(f"checkrein_training_{name}", text, value=value)


@contextmanager
def serve(meter: Meter) -> Iterator[int]:
    """Answer HTTP in a thread while the block runs; gives the port."""
    registry = CollectorRegistry()
    registry.register(meter)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            match self.path:
                case "/progress":
                    answer = TrainingProgress(progress=meter.read(), checkpoint=meter.checkpoint)
                    self._answer(200, "application/json", answer.model_dump_json(by_alias=True).encode())
                case "/metrics":
                    self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
                case "/livez":
                    self._answer(200, "text/plain", b"ok")
                case _:
                    self._answer(404, "text/plain", b"there are /progress, /metrics and /livez")

        def _answer(self, code: int, kind: str, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """A reading every two seconds is no news."""

    server = ThreadingHTTPServer(("0.0.0.0", int(os.environ.get(PORT_VARIABLE, SERVING_PORT))), Handler)  # noqa: S104
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True, name="progress")
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
