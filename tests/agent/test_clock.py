"""A clock that is set back, or leaps."""

from __future__ import annotations

import pytest

from checkrein.agent.clock import Clock, End


def test_time_goes_on_at_its_pace_when_the_wall_clock_is_set_back() -> None:
    wall, steady = [1000.0], [5.0]
    clock = Clock(lambda: wall[0], lambda: steady[0])
    assert clock() == 1000
    wall[0], steady[0] = 400.0, 15.0
    assert clock() == 1010
    wall[0], steady[0] = 2000.0, 16.0
    assert clock() == 2000, "set forwards, it follows"


@pytest.mark.parametrize(
    ("seen", "over"),
    [
        pytest.param([(1000, 0), (1059, 59)], False, id="before it"),
        pytest.param([(1000, 0), (1060, 60)], True, id="at it"),
        pytest.param([(1000, 0), (400, 59)], False, id="set back: not before its time"),
        pytest.param([(1000, 0), (400, 60)], True, id="set back: not after its time"),
        pytest.param([(1000, 0), (2000, 1)], True, id="a leap over it"),
        pytest.param([(1000, 0), (2000, 1), (1002, 2)], True, id="a leap over it and back: it is over"),
        pytest.param([(1000, 0), (1050, 1), (1002, 2)], False, id="a leap short of it and back: it goes on"),
    ],
)
def test_an_end_comes_by_either_clock_and_stays(seen: list[tuple[float, float]], over: bool) -> None:
    wall = steady = 0.0
    end = End(lambda: wall, lambda: steady)
    for wall, steady in seen:  # noqa: B007 - the clocks read them
        found = end.over(1060)
    assert found is over


def test_a_later_end_is_judged_by_the_clock_as_it_is_then() -> None:
    wall, steady = 2000.0, 5.0
    end = End(lambda: wall, lambda: steady)
    assert end.over(1060), "while the clock was ahead"
    wall, steady = 1001.0, 6.0
    assert end.over(1060)
    assert not end.over(1061)
