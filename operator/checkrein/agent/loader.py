"""Brings the wanted policies into memory. Reading, checking and warming up run in threads: decisions go on."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine

from checkrein.agent.backoff import delay
from checkrein.agent.policies import LoadError, Policy
from checkrein.agent.state import State
from checkrein.api.deployment import PolicyPointer
from checkrein.api.meta import bounded
from checkrein.api.spaces import Interface

Load = Callable[[PolicyPointer, Interface | None], Policy]
Resolve = Callable[[str], Awaitable[PolicyPointer]]
log = logging.getLogger(__name__)


class Loader:
    """One task for each wanted policy that is neither in memory nor refused for good, and for each name to look up."""

    def __init__(self, state: State, load: Load, resolve: Resolve, rng: random.Random) -> None:
        self._state = state
        self._load = load
        self._resolve = resolve
        self._rng = rng
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def reconcile(self) -> None:
        """Start what is missing, stop what is no longer wanted. To be called after each change of the word."""
        wanted, names = self._state.wanted(), self._state.unresolved()
        for key in self._tasks.keys() - {*wanted, *names}:
            self._tasks.pop(key).cancel()
        for name in names:
            if not self._busy(name):
                self._start(name, self._look_up(name))
        for key, pointer in wanted.items():
            if key not in self._state.loaded and not self._busy(key) and not self._given_up(key):
                self._start(key, self._bring(pointer))

    def close(self) -> None:
        """Stop. What a thread still reads is dropped."""
        for task in self._tasks.values():
            task.cancel()

    def _start(self, key: str, work: Coroutine[None, None, None]) -> None:
        self._tasks[key] = asyncio.create_task(work, name=f"load {key}")

    def _busy(self, key: str) -> bool:
        return key in self._tasks and not self._tasks[key].done()

    def _given_up(self, key: str) -> bool:
        failure = self._state.failures.get(key)
        return failure is not None and failure.permanent

    async def _look_up(self, name: str) -> None:
        """Look it up, and try again for as long as it is missing; then bring it."""
        failures = 0
        while True:
            try:
                self._state.resolve(await self._resolve(name))
                break
            except LoadError as error:
                log.warning("PolicyVersion %s: %s: %s", name, error.reason, error)
                self._state.fail_name(name, error)
            failures += 1
            await asyncio.sleep(delay(failures, self._rng))
        self.reconcile()

    async def _bring(self, pointer: PolicyPointer) -> None:
        """Load, and try again for as long as the fault may pass."""
        failures = 0
        while not await self._try(pointer):
            failures += 1
            await asyncio.sleep(delay(failures, self._rng))

    async def _try(self, pointer: PolicyPointer) -> bool:
        """Whether there is nothing left to try."""
        try:
            policy = await asyncio.to_thread(self._load, pointer, self._current(pointer))
        except LoadError as error:
            log.warning("policy %s refused: %s: %s", pointer.name, error.reason, error)
            self._state.fail(pointer, error)
            return error.permanent
        except Exception as error:  # a fault of ours must not end the attempts, nor pass in silence
            log.exception("policy %s could not be loaded", pointer.name)
            self._state.fail(pointer, LoadError("LoadFailed", bounded(repr(error)), permanent=False))
            return False
        log.info("policy %s loaded, verified and warmed up", pointer.name)
        self._state.add(policy)
        return True

    def _current(self, pointer: PolicyPointer) -> Interface | None:
        """The interface that a newcomer must have: that of who acts, or of who is to act."""
        if self._state.acting:
            return self._state.acting.interface
        stable = self._state.word.status.stable if self._state.word else None
        return stable.interface if stable and stable != pointer else None
