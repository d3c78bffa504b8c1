"""Keys of episode tokens over time."""

from __future__ import annotations

import pytest

from checkrein.control import tokens

NOW = 1_764_000_000
HOUR, DAY = 3600, 86_400


def aged(*ages: int) -> list[str]:
    """Names of keys that were made so many seconds ago."""
    return [str(NOW - age) for age in ages]


@pytest.mark.parametrize(
    ("names", "due"),
    [
        pytest.param([], True, id="none at all"),
        pytest.param(["key"], True, id="only the one from before there was rotation"),
        pytest.param(aged(DAY), True, id="a day old"),
        pytest.param(aged(DAY - 1), False, id="not a day old"),
        pytest.param([*aged(3 * DAY, HOUR), "key"], False, id="the newest counts"),
        pytest.param(aged(-HOUR), False, id="from the future: the clock was set back"),
    ],
)
def test_one_more_is_made(names: list[str], due: bool) -> None:
    assert tokens.is_due(names, NOW, DAY) is due


@pytest.mark.parametrize(
    ("names", "dropped"),
    [
        pytest.param([], [], id="nothing to drop"),
        pytest.param(["key"], [], id="the only one stays, however old"),
        pytest.param(aged(90 * DAY), [], id="likewise with a date"),
        pytest.param(["key", *aged(7 * DAY)], [], id="an episode of the old one may still run"),
        pytest.param(["key", *aged(7 * DAY + HOUR + 600)], [], id="up to the last second"),
        pytest.param(["key", *aged(7 * DAY + HOUR + 601)], ["key"], id="and not longer"),
        pytest.param(
            aged(30 * DAY, 20 * DAY, 10 * DAY, DAY),
            aged(30 * DAY, 20 * DAY),
            id="all but the last that was in use then",
        ),
    ],
)
def test_none_is_dropped_while_an_episode_may_need_it(names: list[str], dropped: list[str]) -> None:
    assert tokens.outlived(reversed(names), NOW) == dropped


def test_with_daily_keys_there_are_never_many() -> None:
    names: list[str] = []
    for now in range(NOW, NOW + 40 * DAY, HOUR):
        gone = tokens.outlived(names, now)
        names = [name for name in names if name not in gone]
        if tokens.is_due(names, now, DAY):
            names.append(str(now))
        assert len(names) <= 10
    assert len(names) >= 8
