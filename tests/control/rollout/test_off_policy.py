"""A gate on what the stored log says of the candidate: it passes, fails, or waits with the reason."""

from __future__ import annotations

from typing import Any

import pytest
from tests.control.rollout.life import RETURN, Life, canary, strategy

from checkrein.api.evidence import OffPolicyEstimate

GATE = {**RETURN, "name": "logged", "metric": "offPolicy", "role": "Prove"}
ABSOLUTE = {**GATE, "margin": {"of": "Absolute", "value": "10"}}


def told(gate: dict[str, Any], estimate: Any) -> Life:
    """After one look at this estimate."""
    life = Life(spec=strategy(canary=canary({"weight": 50, "units": 2}, gates=[gate])))
    life.look()
    if estimate is not None:
        life.estimate = OffPolicyEstimate(**{"episodes": 90, "effective": 40.0, **estimate})
    life.play(4)
    life.look(3)
    return life


@pytest.mark.parametrize(
    ("gate", "estimate", "expected", "words"),
    [
        pytest.param(GATE, {"lower": 1.0, "upper": 9.0}, "Pass", "minus 0.8 of stable", id="a share of stable"),
        pytest.param(ABSOLUTE, {"lower": -9.0, "upper": 9.0}, "Pass", "above -10 is asked", id="worse by less"),
        pytest.param(ABSOLUTE, {"lower": -11.0, "upper": 9.0}, "Continue", "", id="not shown yet"),
        pytest.param(ABSOLUTE, {"lower": -30.0, "upper": -11.0}, "Fail", "", id="worse by more"),
        pytest.param(
            GATE, {"refused": "no exploration was logged"}, "Continue", "no exploration", id="refused -> no pass"
        ),
        pytest.param(GATE, None, "Continue", "does not answer", id="no store -> no pass"),
    ],
)
def test_off_policy(gate: dict[str, Any], estimate: Any, expected: str, words: str) -> None:
    life = told(gate, estimate)
    [status] = life.status.gates
    assert status.verdict == expected
    assert words in status.message
    acting = {"Pass": "cartpole-2", "Fail": "cartpole-1", "Continue": "cartpole-1"}[expected]
    assert (life.acting, life.status.candidate is not None) == (acting, expected == "Continue")
