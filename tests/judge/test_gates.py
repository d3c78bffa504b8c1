"""Verdicts on evaluations."""

from __future__ import annotations

import numpy as np
import pytest

from checkrein.judge.gates import Verdict, judge_gate


def judged(values: list[float], at_least: float = 475, evaluated_before: int = 0) -> Verdict:
    return judge_gate(values, (0, 500), at_least, 0.95, evaluated_before)


@pytest.mark.parametrize(
    ("verdict", "passed", "words"),
    [
        pytest.param(judged([498.0] * 300), True, "reaches the 475 asked for", id="proved"),
        pytest.param(judged([498.0] * 50), False, "is below the 475", id="too few episodes to prove it"),
        pytest.param(judged([300.0] * 300), False, "mean return 300.0 over 300 episodes", id="a bad policy"),
        pytest.param(judged([]), False, "no data is never a pass", id="no episodes"),
        pytest.param(judged([], at_least=-1), False, "no data", id="no episodes, however little is asked"),
        pytest.param(judged([500.0] * 110), True, "96.96 % confidence", id="enough at the first evaluation"),
        pytest.param(judged([500.0] * 110, evaluated_before=9), False, "9 earlier evaluations", id="not at the tenth"),
    ],
)
def test_verdicts_say_why(verdict: Verdict, passed: bool, words: str) -> None:
    assert (verdict.passed, words in verdict.explanation) == (passed, True), verdict.explanation


def test_a_verdict_carries_its_evidence() -> None:
    verdict = judged([490.0, 500.0] * 150)
    assert (verdict.episodes, verdict.mean, verdict.at_least) == (300, 495, 475)
    assert 475 < verdict.lower_bound < 495
    assert verdict.confidence == pytest.approx(1 - 0.05 * 6 / np.pi**2)


def test_trying_often_does_not_pass_by_luck() -> None:
    """Twenty evaluations at a true mean of 470 (sd 60): a threshold on the mean at 475 lets 99 % of such jobs pass."""
    returns = 500 * np.random.default_rng(5).beta(2.73, 0.174, (200, 20, 100))
    lucky = [any(judged(r.tolist(), 475, before).passed for before, r in enumerate(job)) for job in returns]
    assert np.mean(returns.mean(axis=2).max(axis=1) >= 475) > 0.9, "the simulation does not tempt"
    assert np.mean(lucky) <= 0.05


def test_a_return_outside_the_bounds_is_the_callers_to_clip() -> None:
    with pytest.raises(ValueError, match="outside the bounds"):
        judged([501.0])
