"""The work queue, on a clock that is moved by hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from typing import TypeVar

import pytest

from checkrein.control.queue import LAST_DELAY, WorkQueue

T = TypeVar("T")


class Clock:
    """Seconds that pass when told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Most(random.Random):
    """No jitter: always the longest delay."""

    def uniform(self, a: float, b: float) -> float:
        return b


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue[str]:
    return WorkQueue(clock, Most())


async def at_once(coming: Awaitable[T]) -> T | None:
    """What comes without any time passing; None: it waits."""
    task = asyncio.ensure_future(coming)
    for _ in range(5):
        await asyncio.sleep(0)
    if task.done():
        return task.result()
    task.cancel()
    return None


async def test_a_key_that_is_added_twice_comes_once(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.add("a")
    assert await at_once(queue.get()) == "a"
    assert await at_once(queue.get()) is None


async def test_keys_come_in_the_order_in_which_they_fell_due(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("late", 3)
    queue.add("soon", 1)
    queue.add("also soon", 1)
    clock.now += 3
    assert [await at_once(queue.get()) for _ in range(3)] == ["soon", "also soon", "late"]


async def test_a_deadline_is_waited_for(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a", 5)
    clock.now += 4.9
    assert await at_once(queue.get()) is None
    clock.now += 0.1
    assert await at_once(queue.get()) == "a"


@pytest.mark.parametrize(
    ("first", "then"),
    [pytest.param(5, 1, id="the later one is superseded"), pytest.param(1, 5, id="a later one is nothing")],
)
async def test_of_two_dates_the_earlier_one_stands(
    queue: WorkQueue[str], clock: Clock, first: float, then: float
) -> None:
    queue.add("a", first)
    queue.add("a", then)
    clock.now += 1
    assert await at_once(queue.get()) == "a"
    queue.done("a")
    clock.now += 10
    assert await at_once(queue.get()) is None


async def test_a_key_that_is_added_while_worked_on_comes_afterwards(queue: WorkQueue[str]) -> None:
    queue.add("a")
    await queue.get()
    queue.add("a")
    assert await at_once(queue.get()) is None
    queue.done("a")
    assert await at_once(queue.get()) == "a"


async def test_while_one_key_is_worked_on_the_others_come(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.add("b")
    assert await at_once(queue.get()) == "b"


async def test_a_worker_waits_for_the_next_date_though_a_due_key_is_worked_on() -> None:
    """On the real clock, because the waiting itself is at stake."""
    queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop().time, Most())
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.add("b", 0.01)
    assert await asyncio.wait_for(queue.get(), 60) == "b"


async def test_a_waiting_worker_learns_of_an_earlier_date(queue: WorkQueue[str]) -> None:
    queue.add("late", 100)
    waiting = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.add("now")
    assert await asyncio.wait_for(waiting, 60) == "now"


async def test_every_waiting_worker_gets_its_key(queue: WorkQueue[str]) -> None:
    waiting = [asyncio.ensure_future(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    for key in "abc":
        queue.add(key)
    assert sorted(await asyncio.wait_for(asyncio.gather(*waiting), 60)) == ["a", "b", "c"]


async def test_failures_come_again_later_each_time_up_to_a_cap(queue: WorkQueue[str], clock: Clock) -> None:
    delays = []
    for _ in range(2000):
        queue.add("a")
        await queue.get()
        delays.append(queue.done("a", failed=True))
        clock.now += delays[-1]
    assert delays[:8] == [0.5, 1, 2, 4, 8, 16, 32, LAST_DELAY]
    assert set(delays[8:]) == {LAST_DELAY}


async def test_a_failed_key_comes_when_its_delay_is_over(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    await queue.get()
    delay = queue.done("a", failed=True)
    assert await at_once(queue.get()) is None
    clock.now += delay
    assert await at_once(queue.get()) == "a"


@pytest.mark.parametrize("what", ["success", "forgotten"])
async def test_what_ends_a_row_of_failures(queue: WorkQueue[str], what: str) -> None:
    for failed in (True, True, False) if what == "success" else (True, True):
        queue.add("a")
        await queue.get()
        queue.done("a", failed=failed)
    if what == "forgotten":
        queue.forget("a")
    queue.add("a")
    await queue.get()
    assert queue.done("a", failed=True) == 0.5


async def test_a_forgotten_key_does_not_come(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.forget("a")
    assert len(queue) == 0
    assert await at_once(queue.get()) is None


def test_delays_are_jittered_downwards(clock: Clock) -> None:
    queue: WorkQueue[str] = WorkQueue(clock, random.Random(0))
    delays = [queue.done(str(i), failed=True) for i in range(100)]
    assert 0.25 <= min(delays) < 0.3 < 0.45 < max(delays) <= 0.5
