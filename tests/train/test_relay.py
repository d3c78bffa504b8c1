"""Both ends of a tracker's pipe: the trainer's never waits, the tracker's holds what could not be taken."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from typing import Any

import pytest
from tests.cluster.steps import ClusterError, wait_until
from tests.train.conftest import ROOT, environment, job_spec, task

from checkrein.api.tracking import TrackerName
from checkrein.train.tracking.follow import Inbox, Point, follow
from checkrein.train.tracking.relay import Relay


def started(name: TrackerName, tracking: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Relay:
    """The relay of a job whose store is nowhere."""
    made = task(environment("CartPole-v1"), job_spec(tracking=tracking))
    monkeypatch.setenv("CHECKREIN_TASK", made.model_dump_json(by_alias=True))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "operator"))
    return Relay(name)


@pytest.fixture
def relay(monkeypatch: pytest.MonkeyPatch) -> Relay:
    return started("TensorBoard", {"tensorboard": True}, monkeypatch)


def told(step: int) -> dict[str, object]:
    return {"step": step, "time": float(step), "values": {"train/loss": 0.5}}


def test_a_process_that_stands_still_holds_nobody_up(relay: Relay) -> None:
    os.kill(relay._process.pid, signal.SIGSTOP)
    began = time.monotonic()
    for step in range(10_000):  # more than a pipe holds
        relay.tell(told(step))
    relay.close(trained=True, seconds=0.5)
    assert time.monotonic() - began < 60
    assert relay._process.returncode == -signal.SIGKILL


def test_a_process_that_dies_is_told_of(relay: Relay) -> None:
    os.kill(relay._process.pid, signal.SIGKILL)
    wait_until(lambda: relay.failure is not None, 120, otherwise=lambda: ClusterError("nobody noticed"))
    assert relay.failure is not None
    assert relay.failure.reason == "TrackerUnavailable"
    assert "TensorBoard: its process ended with status -9" in relay.failure.message
    relay.tell(told(1))
    relay.close(trained=True, seconds=0.5)


def test_a_server_that_takes_requests_and_never_answers_is_told_of(
    hanging: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = started("MLflow", {"mlflow": {"uri": hanging}}, monkeypatch)
    relay.tell(told(1))
    wait_until(lambda: relay.failure is not None, 300, otherwise=lambda: ClusterError("nobody said so"))
    assert relay.failure is not None
    assert "MLflow" in relay.failure.message
    assert "timed out" in relay.failure.message
    relay.close(trained=True, seconds=0.5)


class Fickle:
    """Refuses the first calls of each kind."""

    def __init__(self, logs: int = 0, keeps: int = 0) -> None:
        self._logs, self._keeps = logs, keeps
        self.taken: list[int] = []
        self.closed: bool | None = None

    def log(self, points: Sequence[Point]) -> None:
        self._logs -= 1
        if self._logs >= 0:
            raise OSError(f"no answer, {self._logs} more")
        self.taken += [point.step for point in points]

    def keep(self, *, last: bool) -> None:
        self._keeps -= 1
        if self._keeps >= 0:
            raise OSError("no room")

    def close(self, *, trained: bool) -> None:
        self.closed = trained


@pytest.mark.parametrize(
    ("tracker", "failures"),
    [
        pytest.param(Fickle(), [], id="takes it all"),
        pytest.param(Fickle(logs=2), ["OSError: no answer, 1 more", None], id="away for a while: told once, then back"),
        pytest.param(Fickle(keeps=1), ["OSError: no room", None], id="what was taken is not taken again"),
    ],
)
def test_each_point_is_taken_once_and_in_order(tracker: Fickle, failures: list[str | None]) -> None:
    lines = [json.dumps(told(step)).encode() for step in range(1, 6)] + [b'{"trained": true}']
    said: list[str | None] = []
    follow(tracker, Inbox(lines), said.append)
    assert tracker.taken == [1, 2, 3, 4, 5]
    assert tracker.closed is True
    assert said == failures


def test_a_trainer_that_was_killed_had_not_trained_to_the_end() -> None:
    tracker = Fickle()
    follow(tracker, Inbox([json.dumps(told(1)).encode()]), lambda failure: None)
    assert (tracker.taken, tracker.closed) == ([1], False)
