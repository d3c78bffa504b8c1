"""All plans, and a crash at every write point: `make test-faults`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.bench import report
from tests.faults.scenes import World
from tests.faults.trials import Outcome, Trial, crashes, planned, record_all

PLANS = "CHECKREIN_FAULT_PLANS"
"""How many of them."""
TURNS = 4
JOBS = 4 * (os.cpu_count() or 1)  # nothing else runs beside it


@pytest.mark.timeout(6 * 3600)
@pytest.mark.skipif(PLANS not in os.environ, reason="all of them take an hour: make test-faults")
def test_all_plans_and_every_write_point(world: World, faultless: dict[str, Outcome]) -> None:
    begun, number = time.monotonic(), int(os.environ[PLANS])
    every = crashes(faultless)
    crashed, unreached = _crashed(world, faultless, every)
    struck = record_all(world, planned(range(number)), faultless, JOBS, "plans")
    wrong = [o.dump() for o in (*crashed, *struck) if o.problems]
    figures = [
        report.Figure("plans", len(struck), "", ">= 1000"),
        report.Figure("writes that scenarios make", len(every) / 2, ""),
        report.Figure("crashes, before and after each of them", len(every) - len(unreached), ""),
        report.Figure("crashes that never came: writes that timing alone brings about", len(unreached), ""),
        report.Figure("starts of the operator", sum(o.starts for o in (*crashed, *struck)), ""),
        report.Figure("violations", len(wrong), "", "<= 0"),
        report.Figure("time", time.monotonic() - begun, "s"),
    ]
    report.write("faults", figures, wrong=wrong, unreached=unreached)
    assert wrong == []


def _crashed(world: World, faultless: dict[str, Outcome], trials: Sequence[Trial]) -> tuple[list[Outcome], list[str]]:
    """All outcomes, and the crashes that never came: a write that hangs on timing is waited for in several tries."""
    outcomes: list[Outcome] = []
    for turn in range(TURNS):
        played = record_all(world, trials, faultless, JOBS, f"write-points-{turn}")
        outcomes += played
        missed = {o.trial.name for o in played if o.starts == 1 and not o.problems}
        trials = [replace(trial, name=f"{trial.name}-again") for trial in trials if trial.name in missed]
    return outcomes, [repr(trial.faults) for trial in trials]
