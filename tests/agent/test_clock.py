"""A clock that is set back."""

from __future__ import annotations

from checkrein.agent.clock import Clock


def test_time_goes_on_at_its_pace_when_the_wall_clock_is_set_back() -> None:
    wall, steady = [1000.0], [5.0]
    clock = Clock(lambda: wall[0], lambda: steady[0])
    assert clock() == 1000
    wall[0], steady[0] = 400.0, 15.0
    assert clock() == 1010
    wall[0], steady[0] = 2000.0, 16.0
    assert clock() == 2000, "set forwards, it follows"
