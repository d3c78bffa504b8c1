"""The change detector of stable: how rarely it alarms for nothing, how soon it does where the mean has fallen."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkrein.judge import drift
from checkrein.judge.bounded_mean import FRACTIONS

ALPHA = 0.01


def first_alarm(returns: np.ndarray, alpha: float = ALPHA, baseline: float = 450.0) -> float:
    """The unit at which it alarms; infinite where it does not."""
    state = drift.begin(baseline, 0, 500, 0.1, alpha)
    if not drift.read(drift.update(state, returns.tolist())).alarmed:
        return math.inf
    for unit, value in enumerate(returns.tolist(), 1):
        state = drift.update(state, [value])
        if drift.read(state).alarmed:
            return unit
    raise AssertionError("one after the other they say something else than at once")


def beta(rng: np.random.Generator, mean: float, shape: tuple[int, ...], spread: float = 6.0) -> np.ndarray:
    """Returns in [0, 500]."""
    return np.asarray(500 * rng.beta(spread * mean, spread * (1 - mean), shape))


def test_the_first_unit_by_hand() -> None:
    """A mean of 450 that may fall by 50 in [0, 500]: the limit is 0.8, and the worst return wins 1 + 4 f."""
    state = drift.update(drift.begin(450, 0, 500, 0.1, ALPHA), [0.0])
    alarm = drift.read(state)
    assert alarm.evidence == pytest.approx(1 + 4 * np.mean(FRACTIONS))
    assert (alarm.units, alarm.recent, alarm.alarmed) == (1, 0, False)


def test_while_nothing_fell_it_grows_by_one_a_unit_at_most() -> None:
    """What the promise rests on: over many runs at the very boundary the mean evidence is at most the units."""
    rng = np.random.default_rng(11)
    runs = (rng.random((400, 60)) < 0.8) * 500.0
    ends = [drift.read(drift.update(drift.begin(450, 0, 500, 0.1, 1e-6), run.tolist())).evidence for run in runs]
    assert np.mean(ends) <= 60 + 3 * np.std(ends) / math.sqrt(len(ends))


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda rng: (rng.random((120, 400)) < 0.8) * 500.0, id="coins at the boundary"),
        pytest.param(lambda rng: beta(rng, 0.8, (120, 400)), id="returns at the boundary"),
        pytest.param(lambda rng: beta(rng, 0.9, (120, 400)), id="nothing changed"),
        pytest.param(lambda rng: np.where(rng.random((120, 400)) < 0.001, 0.0, 500.0), id="rare ruin"),
        pytest.param(lambda rng: 450 + 50 * np.sin(np.arange(400) / 9) + 0 * rng.random((120, 1)), id="waves"),
    ],
)
def test_a_false_alarm_comes_after_a_hundred_units_on_average_at_the_soonest(draw) -> None:  # type: ignore[no-untyped-def]
    """Cut off after 400 units, which only makes the average smaller."""
    runs = draw(np.random.default_rng(2023))
    assert np.mean([min(first_alarm(run), 400) for run in runs]) >= 1 / ALPHA


@pytest.mark.parametrize(
    ("mean", "most"),
    [
        pytest.param(0.0, 6, id="it always fails now"),
        pytest.param(0.3, 15, id="a third of it"),
        pytest.param(0.6, 60, id="thirty per cent of the range below"),
        pytest.param(0.7, 200, id="twice the drop"),
    ],
)
def test_a_fall_is_found_soon(mean: float, most: int) -> None:
    """After 200 good units; the median over 40 runs at a false alarm in a thousand units."""
    rng = np.random.default_rng(5)
    good, bad = beta(rng, 0.9, (40, 200)), beta(rng, mean, (40, 600)) if mean else np.zeros((40, 600))
    found = [first_alarm(np.concatenate(run), alpha=0.001) for run in zip(good, bad, strict=True)]
    assert min(found) > 200
    assert np.median(found) - 200 <= most


def test_a_long_good_record_does_not_delay_it() -> None:
    """What a gambler who only ever bet from the start would have lost, those who start later have not."""
    state = drift.update(drift.begin(450, 0, 500, 0.1, 0.001), [500.0] * 5000 + [100.0] * 12)
    assert drift.read(state).alarmed


def test_an_alarm_stays_and_the_evidence_goes() -> None:
    state = drift.update(drift.begin(450, 0, 500, 0.1, 0.001), [0.0] * 30)
    assert drift.read(state).alarmed
    later = drift.read(drift.update(state, [500.0] * 500))
    assert later.alarmed
    assert later.evidence < 1000
    assert later.recent == pytest.approx(500, abs=1)


@pytest.mark.parametrize(
    ("returns", "same"),
    [
        pytest.param([math.nan], [0.0], id="no number is the least"),
        pytest.param([-math.inf, 900.0], [0.0, 500.0], id="outside the bounds is clipped"),
    ],
)
def test_odd_returns(returns: list[float], same: list[float]) -> None:
    state = drift.begin(450, 0, 500, 0.1, ALPHA)
    assert drift.update(state, returns) == drift.update(state, same)


def test_the_recent_mean_forgets() -> None:
    state = drift.update(drift.begin(450, 0, 500, 0.1, ALPHA), [400.0, 500.0])
    assert drift.read(state).recent == 450
    state = drift.update(state, [500.0] * 100 + [0.0] * 150)
    assert drift.read(state).recent == pytest.approx(500 * (1 - 1 / drift.RECENT) ** 150, rel=0.02)


@given(st.lists(st.floats(0, 500), max_size=80), st.integers(0, 80))
def test_it_does_not_matter_how_the_units_are_told(returns: list[float], cut: int) -> None:
    """One after the other, or many at once; the state is rounded in between."""
    state = drift.begin(450, 0, 500, 0.1, ALPHA)
    at_once, in_two = drift.update(state, returns), drift.update(drift.update(state, returns[:cut]), returns[cut:])
    assert drift.read(at_once).evidence == pytest.approx(drift.read(in_two).evidence, rel=1e-5)
    assert len(at_once) <= 4096


@pytest.mark.parametrize(
    ("baseline", "low", "high", "drop", "words"),
    [
        pytest.param(40, 0, 500, 0.1, "choose a smaller drop", id="it cannot fall so far"),
        pytest.param(50, 0, 500, 0.1, "choose a smaller drop", id="no return lies below the least"),
        pytest.param(501, 0, 500, 0.1, "is outside reward.bounds", id="a record outside its bounds"),
        pytest.param(math.nan, 0, 500, 0.1, "is outside reward.bounds", id="no record"),
        pytest.param(450, 0, math.inf, 0.1, "must be finite", id="no bounds"),
        pytest.param(450, 0, 500, 0.0, "drop must be above 0", id="no drop"),
    ],
)
def test_what_could_never_be_shown_is_refused(
    baseline: float, low: float, high: float, drop: float, words: str
) -> None:
    why = drift.refuse(baseline, low, high, drop, ALPHA)
    assert why is not None
    assert words in why
    with pytest.raises(ValueError, match=r"drop|bounds"):
        drift.begin(baseline, low, high, drop, ALPHA)


def test_a_drop_that_can_be_shown_is_not_refused() -> None:
    assert drift.refuse(450, 0, 500, 0.1, ALPHA) is None
    assert drift.refuse(-5, -10, 0, 0.4, 0.001) is None
