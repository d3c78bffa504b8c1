"""Scenarios under seeded faults: whatever happens in between, the end is the one without faults."""

from __future__ import annotations

import os

import pytest
from tests.faults import faults
from tests.faults.conftest import JOBS
from tests.faults.plans import plan
from tests.faults.points import Point
from tests.faults.scenarios import SCENARIOS
from tests.faults.scenes import World
from tests.faults.trials import Outcome, Trial, crashes, planned, play_all, told

from checkrein.store import reservations
from checkrein.store.client import Store

pytestmark = pytest.mark.timeout(1800)  # some take most of a minute where nothing else runs
SAMPLE = 8


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
    """Of plans, and of crashes before and after writes."""
    every = crashes(faultless)
    killed = every[:: len(every) // SAMPLE]
    outcomes = list(play_all(world, [*planned(range(SAMPLE)), *killed], faultless, JOBS))
    wrong = told(outcomes)
    assert not wrong, wrong
    names = {trial.name for trial in killed}
    crashed = [o for o in outcomes if o.trial.name in names and o.starts > 1]
    assert len(crashed) > SAMPLE // 2, "not every write is made in every run"


def test_an_operator_that_loses_a_number_in_a_crash_is_found(world: World, faultless: dict[str, Outcome]) -> None:
    crash = (Point("store PUT policies/versions/cartpole/1", 0).killed("after"),)
    trials = [
        Trial("sound", "suspended", crash),
        Trial("broken", "suspended", crash, last=10, broken=forgets_its_numbers),
    ]
    found = {o.trial.name: o for o in play_all(world, trials, faultless, JOBS)}
    assert (found["sound"].problems, [o.starts for o in found.values()]) == ([], [2, 2])
    assert any(problem.startswith("versions: ") for problem in found["broken"].problems)


def forgets_its_numbers() -> None:
    """A version's number belongs to the process that reserved it: after a crash, to nobody."""
    reserve = reservations.reserve_version

    def reserved(store: Store, cluster: str, namespace: str, policy: str, owner: str) -> int:
        return reserve(store, cluster, namespace, policy, f"{owner}-{os.getpid()}")

    reservations.reserve_version = reserved
