"""The interval of a difference of means holds as often as it says."""

from __future__ import annotations

import numpy as np
import pytest

from checkrein.judge.difference import difference


@pytest.mark.parametrize("bounds", [(0.0, 500.0), None], ids=["within bounds", "without bounds"])
def test_the_difference_lies_in_it(bounds: tuple[float, float] | None) -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        ours, theirs = rng.beta(8, 2, 100) * 500, rng.beta(5, 5, 100) * 500
        found = difference(list(ours), list(theirs), bounds)
        assert found
        held += found[0] <= 500 * (0.8 - 0.5) <= found[1]
        assert found[0] > 0, "a hundred episodes of each tell 150 from 0"
    assert held >= (200 if bounds else 180)


def test_it_is_the_other_way_round_for_the_other() -> None:
    a, b = [400.0, 420.0, 500.0] * 20, [100.0, 90.0, 300.0] * 20
    for bounds in ((0.0, 500.0), None):
        found, turned = difference(a, b, bounds), difference(b, a, bounds)
        assert found
        assert turned
        assert found == pytest.approx((-turned[1], -turned[0]))


def test_values_beyond_the_bounds_count_as_the_bound() -> None:
    assert difference([600.0] * 50, [0.0] * 50, (0, 500)) == difference([500.0] * 50, [-3.0] * 50, (0, 500))


@pytest.mark.parametrize(("ours", "theirs"), [([], [1.0, 2.0]), ([1.0, 2.0], [1.0])])
def test_of_too_few_nothing_is_said(ours: list[float], theirs: list[float]) -> None:
    assert difference(ours, theirs, None) is None
    assert difference(ours, theirs, (0, 5)) is None
