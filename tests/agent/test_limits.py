"""What is granted never exceeds what was allowed, whatever the clock and the callers do."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkrein.agent.limits import Limiter
from checkrein.api.deployment import Limits


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def limiter(spec: dict[str, object], replicas: int = 1, **options: int) -> tuple[Limiter, Clock]:
    clock = Clock()
    made = Limiter(clock, **options)
    made.configure(Limits.model_validate(spec), replicas)
    return made, clock


def granted(made: Limiter, caller: str = "a", tries: int = 1000) -> int:
    """How many are granted at once."""
    return next((i for i in range(tries) if made.admit(caller) is not None), tries)


def per_client(rate: int, burst: int | None = None) -> dict[str, object]:
    return {"perClient": {"decisionsPerSecond": rate, **({"burst": burst} if burst else {})}}


@pytest.mark.parametrize(
    ("spec", "replicas", "expected"),
    [
        pytest.param({}, 1, 1000, id="no limit"),
        pytest.param({"decisionsPerSecond": 10}, 1, 10, id="burst is a second's worth by default"),
        pytest.param({"decisionsPerSecond": 10, "burst": 3}, 1, 3, id="burst"),
        pytest.param({"decisionsPerSecond": 10, "burst": 40}, 4, 10, id="a quarter for each of four replicas"),
        pytest.param({"decisionsPerSecond": 10, "burst": 10}, 4, 2, id="no part of a decision"),
        pytest.param({"decisionsPerSecond": 1}, 1000, 1, id="a replica may always decide once"),
        pytest.param(per_client(5), 1, 5, id="of one client"),
        pytest.param({"decisionsPerSecond": 4, **per_client(9)}, 1, 4, id="the client's is more than there is"),
    ],
)
def test_so_many_are_granted_at_once(spec: dict[str, object], replicas: int, expected: int) -> None:
    assert granted(limiter(spec, replicas)[0]) == expected


@pytest.mark.parametrize(
    ("spec", "replicas", "wait"),
    [
        pytest.param({"decisionsPerSecond": 10, "burst": 1}, 1, 0.1, id="one in a tenth of a second"),
        pytest.param({"decisionsPerSecond": 10, "burst": 1}, 5, 0.5, id="a fifth of the rate"),
        pytest.param({"decisionsPerSecond": 3, "burst": 1}, 1, 1 / 3, id="no whole number of nanoseconds"),
        pytest.param({"decisionsPerSecond": 10, "burst": 1, **per_client(2, 1)}, 1, 0.5, id="the longer of two"),
    ],
)
def test_who_waits_as_long_as_told_is_granted_one(spec: dict[str, object], replicas: int, wait: float) -> None:
    made, clock = limiter(spec, replicas)
    assert made.admit("a") is None
    told = made.admit("a")
    assert told == pytest.approx(wait, abs=1e-6)
    clock.now += told - 1e-6
    assert made.admit("a") is not None
    clock.now += 2e-6
    assert made.admit("a") is None


@settings(deadline=None)
@given(
    st.integers(1, 50),
    st.integers(1, 20),
    st.integers(1, 4),
    st.lists(st.tuples(st.floats(-0.5, 0.5), st.integers(1, 5)), max_size=60),
)
def test_no_window_has_more_than_rate_times_time_and_burst(
    rate: int, burst: int, replicas: int, steps: Sequence[tuple[float, int]]
) -> None:
    """In every window, in the time that the clock went forward: it may stand still or go back, too."""
    made, clock = limiter({"decisionsPerSecond": rate, "burst": burst}, replicas)
    forward, grants = 0.0, []
    for step, tries in steps:
        clock.now += step
        forward += max(0.0, step)
        grants += [forward] * sum(made.admit("a") is None for _ in range(tries))
    for first, began in enumerate(grants):
        for last in range(first, len(grants)):
            allowed = rate / replicas * (grants[last] - began) + max(burst / replicas, 1)
            assert last - first + 1 <= allowed + 1e-6


def test_a_steady_caller_gets_the_whole_rate() -> None:
    """A limiter that grants nothing would keep every limit."""
    made, clock = limiter({"decisionsPerSecond": 7, "burst": 1}, 1)
    count = 0
    for _ in range(100_000):
        count += made.admit("a") is None
        clock.now += 0.001
    assert count == pytest.approx(700, abs=10)


def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing() -> None:
    made, clock = limiter({"decisionsPerSecond": 1, "burst": 2})
    assert made.admit("a") is None
    clock.now -= 3600
    assert granted(made) == 1
    clock.now += 1
    assert granted(made) == 1


def test_one_client_takes_nothing_from_another() -> None:
    made, _ = limiter(per_client(3))
    assert [granted(made, caller) for caller in ("a", "b", "a")] == [3, 3, 0]


def test_who_is_refused_spends_nothing() -> None:
    made, _ = limiter({"decisionsPerSecond": 5, **per_client(3)})
    assert granted(made, "a") == 3
    assert [made.admit("a") is None for _ in range(50)] == [False] * 50
    assert granted(made, "b") == 2


def test_a_change_gives_nobody_back_what_was_spent() -> None:
    made, clock = limiter({"decisionsPerSecond": 10, "burst": 10, **per_client(8)})
    assert granted(made) == 8
    made.configure(Limits.model_validate({"decisionsPerSecond": 10, "burst": 11, **per_client(20)}), 1)
    assert granted(made) == 3
    made.configure(Limits.model_validate({"decisionsPerSecond": 10, "burst": 11, **per_client(20)}), 2)
    assert granted(made) == 0
    clock.now += 100
    assert granted(made) == 5


def test_limits_come_and_go() -> None:
    made, _ = limiter(per_client(2))
    assert granted(made) == 2
    made.configure(Limits(), 1)
    assert granted(made) == 1000
    made.configure(Limits.model_validate({"decisionsPerSecond": 4}), 1)
    assert granted(made) == 4


def test_the_clients_are_bounded_and_none_gains_by_being_many() -> None:
    """Who comes when the table is full of spenders shares one allowance with all the others who do."""
    made, clock = limiter(per_client(2), clients=3)
    assert [granted(made, caller) for caller in "abc"] == [2, 2, 2]
    assert sum(made.admit(f"crowd-{i}") is None for i in range(1000)) == 2
    assert granted(made, "a") == 0
    clock.now += 1
    assert [granted(made, caller) for caller in "def"] == [2, 2, 2]


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 0.4), st.sampled_from("abcdefg")), max_size=80))
def test_no_client_exceeds_its_own_even_when_it_is_forgotten(steps: Sequence[tuple[float, str]]) -> None:
    made, clock = limiter(per_client(4, 2), clients=2)
    grants: dict[str, list[float]] = {}
    for step, caller in steps:
        clock.now += step
        if made.admit(caller) is None:
            grants.setdefault(caller, []).append(clock.now)
    for times in grants.values():
        for first, began in enumerate(times):
            assert all(n <= 4 * (t - began) + 2 + 1e-6 for n, t in enumerate(times[first:], 1))
