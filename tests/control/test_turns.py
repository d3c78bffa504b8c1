"""Whose turn it is: agents before jobs and nobody starved, tenants in turn, no tenant with all the workers."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.control.test_queue import Clock, at_once

from checkrein.control.cache import Key
from checkrein.control.controllers import CONTROLLERS, place
from checkrein.control.queue import Place, WorkQueue

ORDER = ["AgentDeployment", "PolicyVersion", "RLEnvironment", "TrainingJob"]


def a_queue(most: int | None = None, clock: Clock | None = None) -> WorkQueue[Key]:
    return WorkQueue(clock or Clock(), random.Random(0), place, most)


def key(kind: str, tenant: str, number: int = 0) -> Key:
    return Key(kind, tenant, f"o{number}")


async def picks(queue: WorkQueue[Key], count: int) -> list[Key]:
    """The next ones, each done at once."""
    found = []
    for _ in range(count):
        found.append(await queue.get())
        queue.done(found[-1])
    return found


def test_every_kind_that_is_reconciled_has_a_place() -> None:
    ranks = {kind: place(Key(kind, "games", "a")).rank for kind in CONTROLLERS}
    assert sorted(ranks, key=lambda kind: ranks[kind]) == ORDER
    assert len(set(ranks.values())) == len(ranks)


async def test_of_those_that_fall_due_at_once_agents_come_first_and_jobs_last() -> None:
    queue = a_queue()
    for kind in reversed(ORDER):
        queue.add(key(kind, "games"))
    assert [k.kind for k in await picks(queue, 4)] == ORDER


@pytest.mark.parametrize("kind", ORDER)
@pytest.mark.parametrize("others", ORDER)
async def test_a_tenant_need_not_wait_for_anothers_thousand(kind: str, others: str) -> None:
    queue = a_queue()
    for n in range(1000):
        queue.add(key(others, "busy", n))
    await picks(queue, 100)
    queue.add(key(kind, "small"))
    came = [k.namespace for k in await picks(queue, 20)].index("small")
    above = kind == others or ORDER.index(kind) < ORDER.index(others)
    assert came <= (1 if above else 2 ** (ORDER.index(kind) - ORDER.index(others)))


async def test_an_agent_comes_before_the_thousand_jobs_of_its_own_tenant() -> None:
    queue = a_queue()
    for n in range(1000):
        queue.add(key("TrainingJob", "games", n))
    await picks(queue, 100)
    queue.add(key("AgentDeployment", "games"))
    assert (await picks(queue, 1))[0].kind == "AgentDeployment"


async def test_each_class_gets_twice_the_turns_of_the_one_below() -> None:
    queue = a_queue()
    for kind in ORDER:
        for n in range(1000):
            queue.add(key(kind, f"tenant-{n % 7}", n))
    kinds = [k.kind for k in await picks(queue, 150)]
    assert [kinds.count(kind) for kind in ORDER] == [80, 40, 20, 10]


async def test_tenants_take_turns_and_a_tenants_oldest_comes_first() -> None:
    clock = Clock()
    queue = a_queue(clock=clock)
    for n in range(3):
        queue.add(key("TrainingJob", "a", n), after=3 - n)
        queue.add(key("TrainingJob", "b", n), after=10 + n)
    clock.now += 20
    came = [(k.namespace, k.name) for k in await picks(queue, 6)]
    assert came == [("a", "o2"), ("b", "o0"), ("a", "o1"), ("b", "o1"), ("a", "o0"), ("b", "o2")]


async def test_time_without_work_earns_no_turns() -> None:
    queue = a_queue()
    for n in range(1000):
        queue.add(key("TrainingJob", "games", n))
    await picks(queue, 500)
    for n in range(100):
        queue.add(key("AgentDeployment", "games", n))
        queue.add(key("PolicyVersion", "games", n))
    kinds = [k.kind for k in await picks(queue, 65)]
    turns = [kinds.count(kind) for kind in ("AgentDeployment", "PolicyVersion", "TrainingJob")]
    assert all(abs(n - share) <= 1 for n, share in zip(turns, (40, 20, 5), strict=True))


async def test_a_tenant_gets_no_more_than_its_workers() -> None:
    queue = a_queue(most=2)
    for n in range(4):
        queue.add(key("AgentDeployment", "slow", n))
    slow = [await queue.get(), await queue.get()]
    assert await at_once(queue.get()) is None
    queue.add(key("TrainingJob", "quick"))
    assert (await queue.get()).namespace == "quick", "a class above whose tenants are all busy holds nobody up"
    queue.done(slow[0])
    assert (await queue.get()).namespace == "slow"


async def test_a_key_that_is_forgotten_in_line_does_not_come() -> None:
    queue = a_queue()
    for n in range(2):
        queue.add(key("TrainingJob", "games", n))
    await picks(queue, 0)
    first = await queue.get()
    queue.forget(key("TrainingJob", "games", 1))
    queue.add(first)
    queue.forget(first)
    queue.done(first)
    assert (len(queue), queue.overdue) == (0, 0)
    assert await at_once(queue.get()) is None


def longest(rank: int, before: int, tenants: int) -> float:
    """Turns of all classes until a key of this class has come.

    `before` keys of its tenant came before it, and this many tenants of its class had work in the meantime.
    """
    own = (before + 1) * tenants
    others = sum((own + 1) * 2.0 ** (rank - other) + 1 for other in range(len(ORDER)) if other != rank)
    return own + others


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc"), st.integers(0, 12)), min_size=1, max_size=60),
    st.lists(st.integers(0, 3), max_size=60),
)
async def test_waiting_is_bounded_whatever_the_others_do(
    arrivals: list[tuple[int, str, int]], pauses: list[int]
) -> None:
    """Arrivals in bursts of up to twelve keys; between two of them some turns pass. No key waits longer than it may."""
    queue, serial, turn = a_queue(), 0, 0
    since: dict[Key, tuple[int, int]] = {}
    waiting: defaultdict[tuple[str, str], int] = defaultdict(int)

    async def pick() -> None:
        nonlocal turn
        came = await queue.get()
        queue.done(came)
        turn += 1
        waiting[came.kind, came.namespace] -= 1
        came_in, before = since.pop(came)
        assert turn - came_in <= longest(ORDER.index(came.kind), before, tenants=3)

    for (rank, tenant, burst), pause in zip(arrivals, [*pauses, *[0] * len(arrivals)], strict=False):
        for _ in range(burst):
            serial += 1
            new = key(ORDER[rank], tenant, serial)
            since[new] = turn, waiting[new.kind, new.namespace]
            waiting[new.kind, new.namespace] += 1
            queue.add(new)
        for _ in range(min(pause, len(since))):
            await pick()
    while since:
        await pick()


def test_a_place_is_a_class_and_a_tenant() -> None:
    assert place(Key("AgentDeployment", "games", "a")) == Place(0, "games")
