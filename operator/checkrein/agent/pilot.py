"""Comes to an action: the first who may decide does, at once where that is fast; explored only once it is logged."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from checkrein.agent import problems
from checkrein.agent.driver import Driver
from checkrein.agent.episodes import Tokens
from checkrein.agent.execution import Execution, fixed, steer
from checkrein.agent.journal import Journal
from checkrein.agent.kernel import Outputs, States
from checkrein.agent.memory import Memory
from checkrein.agent.metrics import Metrics
from checkrein.agent.policies import Policy
from checkrein.agent.regime import Choice
from checkrein.agent.scribe import Scribe
from checkrein.agent.state import State
from checkrein.agent.turn import Turn
from checkrein.shield.arrays import Observation

SLOW_THREADS = 4
SLOW_WAITING = 32
SLOW_SECONDS = 1.0
DURABLE_SECONDS = 1.0
log = logging.getLogger(__name__)


class Pilot:
    """Takes decisions; nothing is answered here."""

    def __init__(
        self, state: State, tokens: Tokens, memory: Memory, journal: Journal, metrics: Metrics, scribe: Scribe
    ) -> None:
        self._state = state
        self._tokens = tokens
        self._memory = memory
        self._journal = journal
        self._metrics = metrics
        self._scribe = scribe
        self._pool = ThreadPoolExecutor(SLOW_THREADS, thread_name_prefix="decide")
        self._slow = 0

    def close(self) -> None:
        """No more decisions."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def quick(self, turn: Turn) -> Execution | None:
        """The usual case: the first who may act does so on the spot, or explores. None: it is another case."""
        choice = turn.choices[0] if turn.choices else None
        if choice is None or choice.policy is None or not choice.policy.inline:
            return None
        driver = self._state.driver(choice.policy)
        if driver is None:
            return None
        state = self._memory.recall(turn.episode, choice.policy, turn.entry)
        try:
            execution = self._steer(choice, driver, choice.policy.run(turn.observation, state), turn)
        except Exception:  # noqa: BLE001 - seen again, and told, where the next in line has his turn
            return None
        return execution if execution.action is not None else None

    async def execute(self, turn: Turn, explored: Execution | None) -> Execution:
        """What the first explored, once it is durable; else the first who comes to an action. Raises Problem."""
        if explored is not None and await self._kept(turn, explored):
            return explored
        refused: Execution | None = None
        for choice in turn.choices:
            try:
                execution = await self._by(choice, turn, greedy=explored is not None)
            except problems.Problem:
                raise
            except Exception as error:  # noqa: BLE001 - a graph may fail in any way; its answer may be any number
                self._failed(choice, turn.episode.arm, error)
                continue
            if execution.action is not None or execution.terminate:
                return execution
            refused = refused or execution
        if refused is not None:
            raise problems.shielded(refused.rule or "")
        if turn.choices:
            raise problems.policy_failed("nobody who may act here gave an action that may be executed")
        raise problems.not_ready("nobody may decide yet: no policy is loaded, and there is no fallback; try again")

    async def _by(self, choice: Choice, turn: Turn, *, greedy: bool) -> Execution:
        if choice.policy is None:
            guard, interface = self._state.guard(), self._state.interface
            if guard is None or interface is None:
                raise ValueError("spec.shield cannot be understood, so nothing may be executed")
            return fixed(choice, guard, interface.action, turn.situation(interface.action))
        driver = self._state.driver(choice.policy)
        if driver is None:
            raise ValueError("spec.shield or spec.exploration does not fit the policy, so nothing may be executed")
        state = self._memory.recall(turn.episode, choice.policy, turn.entry)
        outputs = await self._infer(choice.policy, turn.observation, state)
        execution = self._steer(choice, driver, outputs, turn, greedy=greedy)
        if not execution.explored or execution.action is None or await self._kept(turn, execution):
            return execution
        return self._steer(choice, driver, outputs, turn, greedy=True)

    async def _kept(self, turn: Turn, explored: Execution) -> bool:
        """An explored action is durable in the log before it is answered, else the agent acts greedily."""
        if await self._journal.durable(self._scribe.decision(turn, explored, forked=turn.forked), DURABLE_SECONDS):
            return True
        self._metrics.unexplored.inc()
        return False

    def _steer(
        self, choice: Choice, driver: Driver, outputs: Outputs, turn: Turn, *, greedy: bool = False
    ) -> Execution:
        explore = not greedy and driver.explores and choice.regime == "Policy"
        draw = partial(self._tokens.draw, turn.episode)
        if explore and not self._journal.healthy:
            self._metrics.unexplored.inc(driver.explorer.propose(outputs, draw).explored)
            explore = False
        situation = turn.situation(driver.policy.interface.action)
        return steer(choice, driver, outputs, situation, draw, explore=explore)

    async def _infer(self, policy: Policy, observation: Observation, state: States) -> Outputs:
        """Fast networks on the spot, slow ones in a thread, bounded in number and time."""
        if policy.inline:
            return policy.run(observation, state)
        if self._slow >= SLOW_WAITING:
            raise problems.overloaded("more slow decisions are under way than this replica takes at once")
        self._slow += 1
        work = asyncio.get_running_loop().run_in_executor(self._pool, policy.run, observation, state)
        work.add_done_callback(self._done)
        return await asyncio.wait_for(asyncio.shield(work), SLOW_SECONDS)

    def _done(self, work: asyncio.Future[Outputs]) -> None:
        self._slow -= 1
        if not work.cancelled():
            work.exception()  # looked at, so that nobody calls it forgotten

    def _failed(self, choice: Choice, arm: str, error: Exception) -> None:
        name = choice.policy.name if choice.policy else ""
        self._metrics.policy(name, arm).failed[choice.regime] += 1
        log.warning("%s %s failed to decide: %s: %.200s", choice.regime, name, type(error).__name__, error)
