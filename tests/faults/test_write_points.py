"""The operator is killed before and after writes that it makes; the end is the same."""

from __future__ import annotations

from tests.faults.conftest import JOBS
from tests.faults.scenes import World
from tests.faults.trials import Outcome, crashes, play_all, told

SAMPLE = 8


def test_a_sample_of_crashes_ends_as_without(world: World, faultless: dict[str, Outcome]) -> None:
    every = crashes(faultless)
    outcomes = list(play_all(world, every[:: len(every) // SAMPLE], faultless, JOBS))
    assert told(outcomes) == ""
    assert sum(o.starts > 1 for o in outcomes) >= SAMPLE - 1
