"""What `make bench-training` makes of its measurements."""

from __future__ import annotations

import pytest
from tests.bench.training import Run, eta_error, told

from checkrein.api.tasks import TrainingProgress
from checkrein.api.training import Progress


def reading(percent: int, eta: str | None) -> TrainingProgress:
    return TrainingProgress(progress=Progress(steps=percent, total=100, percent=percent, eta=eta))


@pytest.mark.parametrize(
    ("readings", "wanted"),
    [
        pytest.param([(10.0, reading(19, "9s")), (20.0, reading(21, "1m20s"))], 0.0, id="right, once a fifth is done"),
        pytest.param([(20.0, reading(20, "1m36s")), (60.0, reading(60, "40s"))], 20.0, id="the first one counts"),
        pytest.param([(20.0, reading(25, None))], None, id="nothing promised"),
        pytest.param([], None, id="never asked"),
    ],
)
def test_how_far_an_eta_was_off(readings: list[tuple[float, TrainingProgress]], wanted: float | None) -> None:
    assert eta_error(readings, ended=100.0) == wanted


def test_overhead_is_the_median_over_pairs() -> None:
    pairs = [(Run(102, 51, 4), Run(100, 50)), (Run(220, 60, 6), Run(200, 60)), (Run(101, 50, 9), Run(100, 50))]
    figures = {f.name: f.value for f in told("PPO", 1_000, pairs)}
    assert figures["PPO: overhead"] == pytest.approx(2.0)
    assert figures["PPO: overhead, processor time"] == pytest.approx(0.0)
    assert figures["PPO: ETA off at 20 %"] == 6
    assert figures["PPO: bare"] == 10
