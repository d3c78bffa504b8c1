"""Loading beside deciding: slow, failing and outdated loads."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable

from tests.agent.test_state import pointer, policy, word

from checkrein.agent.loader import Loader
from checkrein.agent.policies import LoadError, Policy
from checkrein.agent.state import State
from checkrein.api.deployment import PolicyPointer
from checkrein.api.spaces import Interface


class Source:
    """Loads as the test says: failures first, each in a thread that may be held up."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.calls: list[str] = []
        self.open = threading.Event()
        self.open.set()

    def load(self, wanted: PolicyPointer, current: Interface | None) -> Policy:
        self.calls.append(wanted.name)
        assert self.open.wait(60)
        if self._failures:
            raise self._failures.pop(0)
        return policy(wanted.name)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)


async def resolve(name: str) -> PolicyPointer:
    """Every PolicyVersion exists."""
    return pointer(name)


def loader(state: State, source: Source) -> Loader:
    return Loader(state, source.load, resolve, random.Random(0))


async def test_a_passing_fault_is_reported_and_tried_again() -> None:
    state, source = State(), Source(LoadError("StoreUnavailable", "away", permanent=False), RuntimeError("a bug"))
    state.accept(word(stable="p-1"))
    loader(state, source).reconcile()
    await until(lambda: bool(state.failures))
    assert (state.reports()[0].reason, state.reports()[0].permanent) == ("StoreUnavailable", False)
    await until(lambda: state.acting is not None)
    assert source.calls == ["p-1"] * 3


async def test_a_permanent_fault_is_not_tried_again_until_the_spec_changes() -> None:
    state, source = State(), Source(LoadError("DigestMismatch", "changed", permanent=True))
    working = loader(state, source)
    state.accept(word(stable="p-1"))
    working.reconcile()
    await until(lambda: bool(state.failures))
    state.accept(word(stable="p-1", epoch=2))
    working.reconcile()
    assert source.calls == ["p-1"]
    state.accept(word(stable="p-1", epoch=2, generation=2))
    working.reconcile()
    await until(lambda: state.acting is not None)


async def test_a_slow_store_holds_up_only_what_it_is_asked_for() -> None:
    state, source = State(), Source()
    working = loader(state, source)
    state.accept(word(stable="p-1"))
    working.reconcile()
    await until(lambda: state.acting is not None)
    source.open.clear()
    state.accept(word(stable="p-1", candidate="p-2", epoch=2))
    working.reconcile()
    await until(lambda: source.calls == ["p-1", "p-2"])
    assert state.standing("") is state.acting
    working.reconcile()
    assert source.calls == ["p-1", "p-2"], "what is under way is not started twice"
    source.open.set()
    await until(lambda: len(state.loaded) == 2)


async def test_what_is_no_longer_wanted_is_dropped_even_if_it_arrives() -> None:
    state, source = State(), Source()
    working = loader(state, source)
    source.open.clear()
    state.accept(word(stable="p-1", epoch=1))
    working.reconcile()
    await until(lambda: source.calls == ["p-1"])
    state.accept(word(stable="p-2", epoch=2))
    working.reconcile()
    source.open.set()
    await until(lambda: state.acting is not None)
    assert [p.name for p in state.loaded.values()] == ["p-2"]


async def test_a_newcomer_must_fit_who_acts_else_who_is_to_act() -> None:
    seen: dict[str, Interface | None] = {}  # by name: two threads load, in any order

    def load(wanted: PolicyPointer, current: Interface | None) -> Policy:
        seen[wanted.name] = current
        return policy(wanted.name)

    state = State()
    state.accept(word(stable="p-1", candidate="p-2"))
    Loader(state, load, resolve, random.Random(0)).reconcile()
    await until(lambda: len(state.loaded) == 2)
    assert seen == {"p-1": None, "p-2": pointer("p-1").interface}


async def test_a_named_version_is_looked_up_until_it_exists_then_loaded() -> None:
    state, source, missing = State(), Source(), [LoadError("PolicyVersionNotFound", "there is none", permanent=False)]

    async def look_up(name: str) -> PolicyPointer:
        if missing:
            raise missing.pop()
        return pointer(name)

    state.accept(word(stable="p-2", fallback={"policyVersion": "p-1"}))
    Loader(state, source.load, look_up, random.Random(0)).reconcile()
    await until(lambda: "p-1" in state.failures)
    await until(lambda: len(state.loaded) == 2)
    assert sorted(source.calls) == ["p-1", "p-2"]
    assert state.failures == {}
