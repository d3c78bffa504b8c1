"""How many units a gate will need."""

from __future__ import annotations

from dataclasses import replace

import pytest

from checkrein.judge.canary import Test as Gate
from checkrein.judge.planning import MOST_UNITS, needed

RETURNS = Gate("NonInferior", "Prove", 0.05, 0.0125, low=0, high=500, margin_of="StableMean", margin=0.05)
RATE = Gate("NotAbove", "Prove", 0.05, 0.0125, low=0, high=1, limit=0.01)


@pytest.mark.parametrize(
    ("test", "mean", "sd", "weights", "low", "high"),
    [
        pytest.param(RETURNS, 500, 0, [(50, None)], 94, 94, id="both perfect"),
        pytest.param(RATE, 0, 0, [(50, None)], 481, 481, id="no errors at all, whatever the weight"),
        pytest.param(RATE, 0, 0, [(5, 20), (25, None)], 481, 481, id="the same in steps"),
        pytest.param(RETURNS, 447, 98, [(50, None)], 450, 650, id="551 in nine of ten"),
        pytest.param(RETURNS, 447, 98, [(5, None)], 280, 400, id="339 with 19 of stable's to each"),
        pytest.param(RETURNS, 447, 98, [], 450, 650, id="without steps at weight 50"),
        pytest.param(
            replace(RETURNS, margin_of="Absolute", margin=22, clip=(0, 500)), 447, 98, [], 300, 900, id="clip"
        ),
        pytest.param(
            Gate("NonInferior", "Prove", 0.05, 0.01, margin=25, variance=98**2), 0, 98, [], 400, 800, id="variance"
        ),
        pytest.param(
            Gate("NonInferior", "Prove", 0.05, 0.01, margin=25, asymptotic=True), 0, 98, [], 300, 700, id="CLT"
        ),
    ],
)
def test_units(test: Gate, mean: float, sd: float, weights: list[tuple[int, int | None]], low: int, high: int) -> None:
    units = needed(test, mean, sd, weights)
    assert units is not None
    assert low <= units <= high
    assert needed(test, mean, sd, weights) == units, "the same question has the same answer"


@pytest.mark.parametrize(
    ("test", "mean", "sd"),
    [
        pytest.param(replace(RETURNS, margin=0.0), 447, 98, id="no margin"),
        pytest.param(replace(RETURNS, margin=0.001), 447, 98, id=f"above {MOST_UNITS} units"),
        pytest.param(replace(RETURNS, low=-1), 447, 98, id="refused"),
        pytest.param(replace(RETURNS, test="Superior"), 447, 98, id="a candidate like stable is not superior"),
        pytest.param(RATE, 0.01, 0.05, id="stable is at the limit"),
        pytest.param(replace(RETURNS, constant=480.0), 447, 98, id="stable is below the reference"),
        pytest.param(RETURNS, float("nan"), 98, id="no record"),
    ],
)
def test_what_cannot_be_shown(test: Gate, mean: float, sd: float) -> None:
    assert needed(test, mean, sd, [(50, None)]) is None


def test_superior_is_planned_for_a_candidate_that_is() -> None:
    superior = replace(RETURNS, test="Superior")
    assert needed(superior, 300, 98, [(50, None)], candidate_mean=400) is not None
