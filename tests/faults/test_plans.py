"""Scenarios under seeded faults: whatever happens in between, the end is the one without faults."""

from __future__ import annotations

from tests.faults import faults
from tests.faults.conftest import JOBS
from tests.faults.plans import plan
from tests.faults.scenarios import SCENARIOS
from tests.faults.scenes import World
from tests.faults.trials import Outcome, planned, play_all, told

SAMPLE = range(8)


def test_a_plan_is_what_its_number_says() -> None:
    assert [repr(plan(n)) for n in range(50)] == [repr(plan(n)) for n in range(50)]
    plans = [plan(n) for n in range(1000)]
    struck = [f for p in plans for f in p.faults]
    assert {type(f).__name__ for f in struck} == {
        *("Refused", "Unsent", "Unanswered", "Late", "Stale", "Paused", "Stopped", "Killed"),
        *("Dropped", "Repeated", "Delayed", "Swapped", "Ended"),
    }
    refused = {(f.side, f.status) for f in struck if isinstance(f, faults.Refused)}
    assert refused >= {("api", 409), ("api", 410), ("api", 429), ("api", 500), ("store", 503)}
    assert {p.scenario for p in plans} == set(SCENARIOS)


def test_without_faults_scenarios_come_to_their_ends(faultless: dict[str, Outcome]) -> None:
    assert {name: o.starts for name, o in faultless.items()} == dict.fromkeys(SCENARIOS, 1)


def test_a_sample_ends_as_without_faults(world: World, faultless: dict[str, Outcome]) -> None:
    assert told(play_all(world, planned(SAMPLE), faultless, JOBS)) == ""
