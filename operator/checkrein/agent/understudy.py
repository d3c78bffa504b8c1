"""A candidate that decides beside stable, in a thread of low priority: whatever it does, nobody waits for it.

Offers wait in a bounded queue. What the network remembers is kept here by episode, bounded as well: where a step was
missed - it was decided elsewhere, found no room, or failed - the rest of the episode is dropped, because a network
that remembers something else is another policy.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Literal

import numpy as np

from checkrein.agent import distance, exploration
from checkrein.agent.driver import Driver, Drivers
from checkrein.agent.episodes import Tokens
from checkrein.agent.execution import Execution, Situation, steer
from checkrein.agent.kernel import Outputs, States
from checkrein.agent.policies import Policy
from checkrein.agent.regime import Choice
from checkrein.agent.turn import Turn
from checkrein.agent.validation import SpaceError
from checkrein.api.deployment import AgentDeploymentSpec, PolicyPointer
from checkrein.api.meta import bounded
from checkrein.judge.distributions import pushed
from checkrein.judge.divergence import Divergence, Pair
from checkrein.shield.arrays import Array, Observation

NICE = 10
QUEUE = 256
QUEUE_BYTES = 64 * 2**20
"""Of observations; nothing in comparison with what the requests before them took."""
STATES, STATE_BYTES = 4096, 64 * 2**20
SECONDS = 1.0
"""A decision that takes longer has failed, as it has where a policy acts (`pilot`)."""
PUBLISH_SECONDS = 0.25
ERROR = 200
log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Offer:
    """A decision of stable's. `array` is the executed action, `explore` says whether exploration was possible.

    `abandoned`: the answer, should it ever come, counts no more.
    """

    turn: Turn
    array: Array
    value: float | None
    candidate: PolicyPointer
    spec: AgentDeploymentSpec
    explore: bool
    abandoned: bool = False


@dataclass(frozen=True, slots=True)
class Opinion:
    """What came of an offer. `probability` is that of the executed action, by the candidate without exploration."""

    offer: Offer
    outcome: Literal["decided", "failed", "invalid", "dropped"]
    execution: Execution | None = None
    probability: float | None = None
    agreed: bool = False
    distance: float | None = None
    latency_us: float = 0.0
    error: str = ""


class Understudy:
    """One candidate in one rollout. All but `_run` and what it calls belongs to the event loop.

    `tell` hears of each opinion, in the thread; it must not raise.
    """

    def __init__(
        self,
        policy: Policy,
        tokens: Tokens,
        tell: Callable[[Opinion], None],
        *,
        room: int = QUEUE,
        seconds: float = SECONDS,
    ) -> None:
        self._policy = policy
        self._tokens = tokens
        self._tell = tell
        self._room = room
        self._seconds = seconds
        self._queue: SimpleQueue[Offer | None] = SimpleQueue()
        self._bytes_in = self._bytes_out = 0
        self._current: tuple[Offer, float] | None = None
        self._closed = self._faulty = False
        # The thread's side; the owner reads `report` and `seen`, which are replaced as wholes.
        self._twin = policy
        self._drivers = Drivers()
        self._states: OrderedDict[bytes, tuple[int, States]] = OrderedDict()
        self._distance = distance.Distance(policy.interface.action)
        self._labelled = policy.interface.action.type == "Discrete"
        self._divergence = Divergence(distance.names(policy.interface.observation, policy.features))
        self.report: dict[str, Any] = self._divergence.report()
        self.seen: tuple[Array, Array] | None = None
        self._thread = threading.Thread(target=self._run, name=f"shadow {policy.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Offers that wait."""
        return self._queue.qsize()

    @property
    def busy(self) -> bool:
        """Whether an offer waits or is being decided."""
        return self._current is not None or not self._queue.empty()

    @property
    def hanging(self) -> bool:
        """Whether it has been at one decision for too long."""
        current = self._current
        return current is not None and time.monotonic() - current[1] > self._seconds

    def take(self, offer: Offer) -> bool:
        """Whether there is room for it. Never blocks."""
        size = _bytes(offer.turn.observation)
        if self._closed or self.waiting >= self._room or self._bytes_in - self._bytes_out + size > QUEUE_BYTES:
            return False
        self._bytes_in += size
        self._queue.put(offer)
        return True

    def give_up(self) -> tuple[Offer | None, list[Offer]]:
        """Where it hangs: the decision that takes too long, once, and those that waited behind it."""
        current, waited = self._current, list[Offer]()
        if not self.hanging or current is None:
            return None, waited
        self._twin.kernel.stop()
        while not self._queue.empty():
            try:
                offer = self._queue.get_nowait()
            except Empty:  # it goes on after all
                break
            if offer is not None:
                self._bytes_in -= _bytes(offer.turn.observation)
                waited.append(offer)
        if current[0].abandoned:
            return None, waited
        current[0].abandoned = True
        return current[0], waited

    def close(self) -> None:
        """No more. What it is at, and what waits, counts no more."""
        self._closed = True
        self._queue.put(None)
        if (current := self._current) is not None:
            current[0].abandoned = True
            self._twin.kernel.stop()

    # --- in the thread

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        published = True
        due = 0.0
        while True:
            try:
                offer = self._queue.get(timeout=None if published else PUBLISH_SECONDS)
            except Empty:
                self._publish()
                published = True
                continue
            if offer is None or self._closed:
                return
            self._answer(offer)
            published = time.monotonic() >= due
            if published:
                self._publish()
                due = time.monotonic() + PUBLISH_SECONDS

    def _publish(self) -> None:
        self.report, self.seen = self._divergence.report(), self._divergence.seen

    def _answer(self, offer: Offer) -> None:
        self._current = (offer, began := time.monotonic())
        try:
            opinion = self._opinion(offer)
        except Exception as error:  # noqa: BLE001 - a candidate may fail in any way
            opinion = Opinion(offer, "failed", error=_told(error))
        if (took := time.monotonic() - began) > self._seconds and opinion.outcome != "dropped":
            opinion = Opinion(offer, "failed", latency_us=took * 1e6, error=f"it took longer than {self._seconds:g} s")
        self._bytes_out += _bytes(offer.turn.observation)
        self._current = None
        if offer.abandoned:
            return
        try:
            self._keep(opinion)
        except Exception:
            if not self._faulty:
                log.exception("the report on the candidate %s is not complete; this is told once", self._policy.name)
            self._faulty = True
        self._tell(opinion)

    def _opinion(self, offer: Offer) -> Opinion:
        driver = self._driver(offer.spec)
        state = self._recall(offer.turn)
        if state is None:
            return Opinion(offer, "dropped")
        situation = offer.turn.situation(driver.policy.interface.action)
        # By the processor's time, since this thread stands back for others as an acting policy would not.
        began = time.thread_time()
        try:
            outputs, execution = self._decide(driver, offer, state, situation)
        except SpaceError as error:
            return Opinion(offer, "invalid", latency_us=_since(began), error=_told(error))
        latency = _since(began)
        agreed, apart = (False, 1.0) if execution.array is None else self._distance(offer.array, execution.array)
        probability = self._probability(driver, outputs, offer, situation)
        return Opinion(offer, "decided", execution, probability, agreed, apart, latency)

    def _decide(self, driver: Driver, offer: Offer, state: States, situation: Situation) -> tuple[Outputs, Execution]:
        """With stable's own random numbers, so that what differs is the policies'. Raises SpaceError, and anything."""
        outputs = driver.policy.run(situation.observation, state)
        draw = partial(self._tokens.draw, offer.turn.episode)
        explore = offer.explore and driver.explores
        try:
            choice = Choice("Policy", driver.policy)
            return outputs, steer(choice, driver, outputs, situation, draw, explore=explore)
        except ValueError as error:  # its outputs give nothing to choose by
            raise SpaceError(str(error)) from error

    def _probability(self, driver: Driver, outputs: Outputs, offer: Offer, situation: Situation) -> float | None:
        try:
            return likelihood(driver, outputs, situation, offer.array)
        except ValueError:
            return None

    def _driver(self, spec: AgentDeploymentSpec) -> Driver:
        """The candidate with a guard of its own: neither guards nor kernels are shared with who decides."""
        if self._twin is self._policy:
            self._twin = self._policy.twin()
        self._drivers.settle({self._twin.key: self._twin}, spec, self._twin.interface)
        driver = self._drivers.get(self._twin.key)
        if driver is None:
            raise ValueError("; ".join(self._drivers.problems.values()) or "it does not fit spec.shield")
        return driver

    def _recall(self, turn: Turn) -> States | None:
        """What it remembers at this point of the episode. None: a step was missed."""
        initial = self._twin.kernel.initial_state
        if not initial or turn.episode.step == 0:
            return initial
        step, state = self._states.pop(turn.episode.id, (0, ()))
        return state if step == turn.episode.step else None

    def _keep(self, opinion: Opinion) -> None:
        """Into the report, and into its memory."""
        offer, execution = opinion.offer, opinion.execution
        if opinion.outcome in ("decided", "invalid"):
            self._divergence.latencies.add(opinion.latency_us)
        if opinion.outcome != "decided" or execution is None or opinion.distance is None:
            return
        valued = execution.value is not None and offer.value is not None
        self._divergence.add(
            Pair(
                decision=offer.turn.decision,
                observation=distance.flat(offer.turn.observation),
                stable=offer.array.ravel(),
                candidate=None if execution.array is None else execution.array.ravel(),
                agreed=opinion.agreed,
                distance=opinion.distance,
                value=execution.value - offer.value if valued else None,  # type: ignore[operator]  # both are there
                actions=_label(offer.array, execution.array) if self._labelled else "",
            )
        )
        if execution.state:
            self._remember(offer.turn, execution.state)

    def _remember(self, turn: Turn, state: States) -> None:
        self._states[turn.episode.id] = (turn.episode.step + 1, state)
        size = max(1, sum(part.nbytes for part in state))
        while len(self._states) > max(1, min(STATES, STATE_BYTES // size)):
            self._states.popitem(last=False)


def likelihood(driver: Driver, outputs: Outputs, situation: Situation, executed: Array) -> float | None:
    """The probability (Box: the density) of the executed action by this policy behind its shield, without exploration.

    None where it has none: a Box action of a deterministic policy, on a bound, or one that a rule would change; or
    where too many proposals would have to be added up. Raises ValueError where the outputs give nothing to choose by.
    """
    policy, guard = driver.policy, driver.guard
    space, where = policy.interface.action, (situation.observation, situation.previous, situation.step)
    scores = outputs.logits if outputs.logits is not None else outputs.q_values
    if policy.acting != "Stochastic":
        if space.type == "Box":
            return None
        ruling = guard.rule(where[0], outputs.action, *where[1:], scores)
        return float(ruling.action is not None and np.array_equal(ruling.action, executed))
    if space.type == "Discrete":
        table = exploration.distribution(space, outputs)
        onto = guard.permitted(*where, scores)
        return None if onto is None else float(pushed(table, onto)[guard.index(executed)])
    own = exploration.probability(space, policy.acting, outputs, executed)
    ruling = guard.rule(where[0], executed, *where[1:], scores)
    return guard.propensity(own, None, ruling, *where, scores)


def _label(stable: Array, candidate: Array | None) -> str:
    return f"{int(stable)}>{'none' if candidate is None else int(candidate)}"


def _since(began: float) -> float:
    return (time.thread_time() - began) * 1e6


def _bytes(observation: Observation) -> int:
    return sum(a.nbytes for a in observation.values()) if isinstance(observation, dict) else observation.nbytes


def _told(error: Exception) -> str:
    return bounded(f"{type(error).__name__}: {error}", ERROR)
