"""What the trainer tells while it learns."""

from __future__ import annotations

from collections import deque
from typing import Any, cast

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.train.conftest import environment, job_spec, task

from checkrein.api.tasks import Failure, TrainingProgress
from checkrein.api.training import CheckpointStatus
from checkrein.train.checkpoints import Checkpoints
from checkrein.train.learning import Seams, Stop, learn
from checkrein.train.logged import Logged
from checkrein.train.model import build
from checkrein.train.progress import Meter, progress, serve


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(
            {"steps": 0, "first": 0, "total": 100, "elapsed": 0.0, "left": None, "returns": []},
            {"steps": 0, "total": 100, "percent": 0, "stepsPerSecond": 0},
            id="nothing yet: no rate, no time left, no return",
        ),
        pytest.param(
            {"steps": 250, "first": 0, "total": 1000, "elapsed": 10.0, "left": None, "returns": [1.0, 2.0]},
            {"steps": 250, "total": 1000, "percent": 25, "eta": "30s", "episodeReturn": "1.50", "stepsPerSecond": 25},
            id="a quarter",
        ),
        pytest.param(
            {"steps": 750, "first": 500, "total": 1000, "elapsed": 10.0, "left": None, "returns": []},
            {"steps": 750, "total": 1000, "percent": 75, "eta": "10s", "stepsPerSecond": 25},
            id="resumed: the rate is this attempt's own",
        ),
        pytest.param(
            {"steps": 250, "first": 0, "total": 1000, "elapsed": 10.0, "left": 5.0, "returns": []},
            {"steps": 250, "total": 1000, "percent": 25, "eta": "5s", "stepsPerSecond": 25},
            id="the duration ends first",
        ),
        pytest.param(
            {"steps": 1024, "first": 0, "total": 1000, "elapsed": 10.0, "left": -1.0, "returns": [1e300]},
            {"steps": 1024, "total": 1000, "percent": 100, "eta": "0s", "stepsPerSecond": 102},
            id="past the end, with a return beyond what the status can hold",
        ),
    ],
)
def test_progress_is(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert progress(**given).dump() == expected


class Running:
    """What is read of an algorithm."""

    def __init__(self) -> None:
        self.num_timesteps = 40
        self.ep_info_buffer: deque[Any] | None = deque([{"r": 3.0, "l": 10}, {"r": 4.0, "l": 20}])


class Saved:
    newest = CheckpointStatus(step=30, digest="sha256:" + "0" * 64)
    failure = Failure(reason="StoreUnavailable", message="store: no answer")
    stored_at = 1_700_000_000.0
    lost = 2


def metrics(base: str) -> dict[str, float]:
    """Values by name and labels."""
    families = text_string_to_metric_families(httpx.get(f"{base}/metrics").text)
    return {" ".join([s.name, *s.labels.values()]): s.value for f in families for s in f.samples}


def test_http_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHECKREIN_PORT", "0")
    meter = Meter(Running(), 100, None, cast(Checkpoints, Saved()))
    with serve(meter) as port:
        base = f"http://127.0.0.1:{port}"
        answer = TrainingProgress.model_validate_json(httpx.get(f"{base}/progress").content)
        assert answer.progress.percent == 40
        assert (answer.checkpoint, answer.failure) == (Saved.newest, Saved.failure)
        samples = metrics(base)
        assert samples["checkrein_training_steps_total"] == 40
        assert samples["checkrein_training_episode_return"] == 3.5
        assert samples["checkrein_training_episode_steps"] == 15
        assert samples["checkrein_training_checkpoint_step"] == 30
        assert samples["checkrein_training_checkpoint_timestamp_seconds"] == 1_700_000_000
        assert samples["checkrein_training_checkpoints_lost_total"] == 2
        assert httpx.get(f"{base}/livez").status_code == 200
        assert httpx.get(f"{base}/other").status_code == 404
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{base}/livez")


def test_steps_before_learning_starts_say_nothing_of_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    monkeypatch.setattr("checkrein.train.progress.time.monotonic", lambda: clock)
    model = Running()
    model.num_timesteps, model.learning_starts = 0, 1000  # type: ignore[attr-defined]
    meter = Meter(model, 2000, None, cast(Checkpoints, Saved()))
    for clock, model.num_timesteps in ((1.0, 1000), (11.0, 1100)):  # noqa: B007 - the clock is read by the meter
        said = meter.read()
    assert (said.steps_per_second, said.eta) == (10, "1m30s")


LOGGED = {
    "PPO": {"training_loss total", "training_loss value", "training_loss policy_gradient", "training_loss entropy"}
    | {f"training_logged {name}" for name in ("approx_kl", "clip_fraction", "explained_variance", "learning_rate")},
    "DQN": {"training_loss total", "training_logged learning_rate"},
}


@pytest.mark.parametrize("algorithm", sorted(LOGGED))
def test_what_the_library_logs_of_an_update_is_told(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHECKREIN_PORT", "0")
    hyperparameters = {"PPO": {"n_steps": 64}, "DQN": {"learning_starts": 50}}[algorithm]
    spec = job_spec(algorithm, 256, algorithm={"hyperparameters": hyperparameters})
    model, logged = build(task(environment("CartPole-v1"), spec)), Logged()
    meter = Meter(model, 256, None, cast(Checkpoints, Saved()), logged)
    with serve(meter) as port:
        base = f"http://127.0.0.1:{port}"
        before = metrics(base)
        assert not [name for name in before if "loss" in name or "gradient" in name], "nothing was learnt yet"
        learn(model, 256, Seams(10_000, 0, Stop(), None, lambda: None), logged)
        after = metrics(base)
    assert {f"checkrein_{name}" for name in LOGGED[algorithm]} <= after.keys()
    assert after["checkrein_training_updates_total"] > 0
    assert after["checkrein_training_gradient_norm"] > 0
