"""How far training is, for `GET /progress` and `GET /metrics`. Nothing here runs unless somebody asks."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from checkrein.api.meta import format_duration
from checkrein.api.tasks import SERVING_PORT, Failure, TrainingProgress
from checkrein.api.training import CheckpointStatus, Progress
from checkrein.train.checkpoints import Checkpoints
from checkrein.train.logged import Logged
from checkrein.train.tracking.relay import Relay

PORT_VARIABLE = "CHECKREIN_PORT"
MOST_STEPS = 10**12
MOST_RETURN = 10**15
STEPS = "checkrein_training_steps"
UPDATES = "checkrein_training_updates"
LOST = "checkrein_training_checkpoints_lost"
WANTED = "checkrein_training_steps_wanted"
RATE = "checkrein_training_steps_per_second"
RETURN = "checkrein_training_episode_return"
LENGTH = "checkrein_training_episode_steps"
CHECKPOINT = "checkrein_training_checkpoint_step"
CHECKPOINT_TIME = "checkrein_training_checkpoint_timestamp_seconds"
STARTED = "checkrein_training_start_timestamp_seconds"
GRADIENT = "checkrein_training_gradient_norm"
LOSS = "checkrein_training_loss"
LOGGED = "checkrein_training_logged"
TRACKER = "checkrein_training_tracker_up"
HELP = {
    STEPS: "Environment steps taken, those of earlier attempts up to the checkpoint included.",
    UPDATES: "Updates of the networks, as the library counts them.",
    LOST: "Checkpoints that could not be stored.",
    WANTED: "Environment steps of the budget.",
    RATE: "Environment steps per second of this attempt.",
    RETURN: "Mean return of the latest 100 episodes.",
    LENGTH: "Mean length of the latest 100 episodes, in steps.",
    CHECKPOINT: "Step of the newest checkpoint; 0 before the first.",
    CHECKPOINT_TIME: "When this attempt stored its newest checkpoint, Unix time.",
    STARTED: "When this attempt began to train, Unix time.",
    GRADIENT: "Euclidean norm of the latest update's gradients, after clipping.",
    LOSS: "Terms of the latest update's loss: total, value, policy_gradient, entropy, actor, critic, ent_coef.",
    LOGGED: "What else the library logs of its latest update, by its own name (approx_kl, learning_rate, ...).",
    TRACKER: "1: a tracker of spec.tracking takes what it is told; 0: it does not, and training goes on without it.",
}
"""The trainer's metrics, and what they mean."""
LABELS = {LOSS: ("term",), LOGGED: ("key",), TRACKER: ("tracker",)}
COUNTERS = (STEPS, UPDATES, LOST)


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

    def __init__(
        self,
        model: Learner,
        total: int,
        duration: float | None,
        checkpoints: Checkpoints,
        logged: Logged | None = None,
        trackers: Sequence[Relay] = (),
    ) -> None:
        self._logged, self._trackers = logged, trackers
        self._started = time.time()
        self._model, self._total, self._duration = model, total, duration
        self._checkpoints = checkpoints
        self.begin()

    def begin(self) -> None:
        """From here on counts: the checkpoint to go on from is restored."""
        start = time.monotonic()
        self._since = (self._model.num_timesteps, start)
        self._filling = getattr(self._model, "learning_starts", 0) > self._model.num_timesteps
        self.deadline = None if self._duration is None else start + self._duration

    @property
    def failure(self) -> Failure | None:
        """What the store, or else a tracker, does not do now."""
        told = (self._checkpoints.failure, *(tracker.failure for tracker in self._trackers))
        return next((failure for failure in told if failure), None)

    @property
    def checkpoint(self) -> CheckpointStatus | None:
        """The newest one that is stored."""
        return self._checkpoints.newest

    def read(self) -> Progress:
        """Progress now."""
        now, steps = time.monotonic(), self._model.num_timesteps
        first, start = self._since
        if self._filling and steps >= self._model.learning_starts:  # type: ignore[attr-defined]  # off-policy only
            # Steps that only fill the replay buffer are quick: they say nothing of the time that is left.
            self._filling, self._since = False, (steps, now)
        episodes = list(self._model.ep_info_buffer or ())
        return progress(
            steps=steps,
            first=first,
            total=self._total,
            elapsed=now - start,
            left=None if self.deadline is None else self.deadline - now,
            returns=[float(e["r"]) for e in episodes],
        )

    def collect(self) -> Iterator[Metric]:
        """For prometheus_client's registry. What is not known yet has no series."""
        now = self.read()
        logged = dict(self._logged.values) if self._logged else {}
        yield CounterMetricFamily(STEPS, HELP[STEPS], value=float(now.steps))
        if (updates := logged.pop("n_updates", None)) is not None:
            yield CounterMetricFamily(UPDATES, HELP[UPDATES], value=updates)
        yield CounterMetricFamily(LOST, HELP[LOST], value=self._checkpoints.lost)
        lengths = [float(episode["l"]) for episode in self._model.ep_info_buffer or () if "l" in episode]
        values = {
            WANTED: float(now.total),
            RATE: float(now.steps_per_second),
            RETURN: float(now.episode_return) if now.episode_return is not None else None,
            LENGTH: sum(lengths) / len(lengths) if lengths else None,
            CHECKPOINT: float(self.checkpoint.step if self.checkpoint else 0),
            CHECKPOINT_TIME: self._checkpoints.stored_at,
            STARTED: self._started,
            GRADIENT: self._logged.gradient_norm if self._logged else None,
        }
        for name, value in values.items():
            if value is not None:
                yield GaugeMetricFamily(name, HELP[name], value=value)
        yield _labelled(LOSS, "term", {term(k): v for k, v in logged.items() if k.endswith("loss")})
        yield _labelled(LOGGED, "key", {k: v for k, v in logged.items() if not k.endswith("loss")})
        yield _labelled(TRACKER, "tracker", {t.name: float(t.failure is None) for t in self._trackers})


def term(name: str) -> str:
    """Which part of the loss the library's name means: value of value_loss, total of loss."""
    return name.removesuffix("loss").rstrip("_") or "total"


def _labelled(name: str, label: str, values: dict[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, HELP[name], labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family


@contextmanager
def serve(meter: Meter, registry: CollectorRegistry | None = None) -> Iterator[int]:
    """Answer HTTP in a thread while the block runs; gives the port. `registry` may hold other metrics already."""
    told = registry or CollectorRegistry()
    told.register(meter)
    ProcessCollector(registry=told)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            match self.path:
                case "/progress":
                    answer = TrainingProgress(progress=meter.read(), checkpoint=meter.checkpoint, failure=meter.failure)
                    self._answer(200, "application/json", answer.model_dump_json(by_alias=True).encode())
                case "/metrics":
                    self._answer(200, CONTENT_TYPE_LATEST, generate_latest(told))
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
