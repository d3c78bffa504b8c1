"""What new episodes are assigned as: the counters of starts behind judge.assignment, at one replica.

Only a start that may become evidence is counted. Under an override, for a caller over its limits, before the log has a
name or the candidate is in memory, and where the candidate holds as many episodes as it may, a start gets stable and no
unit: none of that depends on what would have become of it. Counters live as long as the stream that names the units.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from checkrein.agent.episodes import Episode
from checkrein.agent.policies import key
from checkrein.agent.state import State
from checkrein.api.deployment import AgentDeployment
from checkrein.api.strategy import Strategy
from checkrein.judge.assignment import Arm, Unit, arms, is_keyed, is_shadowed, of_client, opened, shape

SILENT_SECONDS = 60.0
SILENT_PAUSES = 10
"""An episode that was silent for so many of its longest pauses, and at least a minute, has gone to another replica."""
ROLLOUTS_KNOWN = 8
MOST_RUNNING = 16_384
Start = tuple[Arm, str, str]
"""Arm, unit and the key of the policy, of an episode that begins. A unit is empty where it is none."""
NO_UNIT: Start = ("stable", "", "")


@dataclass(slots=True)
class Counter:
    """How far the starts of one rollout have come here: the next one is `index` of `block`, which has this weight."""

    block: int = 0
    index: int = 0
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What the last word says of new episodes. `candidate` is a key; `window` is seconds."""

    kind: str
    rollout: str
    seed: str = ""
    weight: int = 0
    concurrent: int | None = None
    window: float = 0.0
    candidate: str = ""
    share: float = 0.0


NO_PLAN = Plan("", "")


class Running:
    """Episodes of the candidate that this replica has heard of lately."""

    def __init__(self) -> None:
        self._heard: OrderedDict[bytes, tuple[float, float]] = OrderedDict()  # when last, and the longest pause

    def heard(self, episode: bytes, now: float) -> None:
        """A step of it was asked for."""
        last, pause = self._heard.pop(episode, (now, 0.0))
        self._heard[episode] = (now, max(pause, now - last))
        if len(self._heard) > MOST_RUNNING:
            self._heard.popitem(last=False)

    def ended(self, episode: bytes) -> None:
        """It is over."""
        self._heard.pop(episode, None)

    def count(self, now: float) -> int:
        """How many there are. Those that fell silent have gone on, or ended, elsewhere."""
        for name, (last, pause) in list(self._heard.items()):
            if now - last > max(SILENT_SECONDS, SILENT_PAUSES * pause):
                del self._heard[name]
        return len(self._heard)


class Assigner:
    """Assigns starts. `stream` names the replica's log; empty while that is not open. `key` tells arms by a published
    seed; while it is empty nobody is assigned by one."""

    def __init__(self, state: State, stream: Callable[[], str], key: Callable[[], bytes] = bytes) -> None:
        self._state = state
        self._key = key
        self._stream = stream
        self._word: AgentDeployment | None = None
        self._plan = NO_PLAN
        self._counters: OrderedDict[str, Counter] = OrderedDict()
        self._arms = lru_cache(maxsize=64)(arms)
        self._shadowed: dict[str, bool] = {}
        self.running = Running()

    @property
    def plan(self) -> Plan:
        """As the last word has it."""
        word = self._state.word
        if word is not self._word:
            plan = planned(word) if word else NO_PLAN
            if is_keyed(plan.seed):
                if not (key := self._key()):
                    return NO_PLAN  # asked again: it is on its way
                plan = replace(plan, seed=opened(plan.seed, key))
            self._word, self._plan, self._shadowed = word, plan, {}
        return self._plan

    def start(self, now: float, caller: str) -> Start:
        """What an episode that begins is assigned as."""
        plan = self.plan
        if not plan.kind or not (stream := self._stream()):
            return NO_UNIT
        if plan.candidate and plan.candidate not in self._state.loaded:
            return NO_UNIT
        match plan.kind:
            case "episode":
                return self._of_block(plan, stream, now)
            case "window":
                return self._of_window(plan, now)
            case "client":
                return self._of_client(plan, caller, now)
            case _:
                return self._counted(plan, stream)

    def acted(self, episode: Episode, now: float) -> None:
        """A step of an episode of the candidate was asked for."""
        if self.plan.concurrent is not None:
            self.running.heard(episode.id, now)

    def shadowed(self, unit: str) -> bool:
        """Whether the candidate is to be asked beside stable, in the episode that was assigned as this."""
        plan = self.plan
        if plan.kind != "shadow":
            return False
        found = self._shadowed.get(unit)
        if found is None:
            try:
                told = Unit.parse(unit)
            except ValueError:
                return False
            found = told.rollout == plan.rollout and is_shadowed(plan.seed, told.stream, told.block, plan.share)
            if len(self._shadowed) >= MOST_RUNNING:
                self._shadowed.clear()
            self._shadowed[unit] = found
        return found

    # --- by design

    def _of_block(self, plan: Plan, stream: str, now: float) -> Start:
        """The next start of this replica's block. A block keeps the weight that it began with."""
        counter = self._counter(plan.rollout)
        if counter.index == 0:
            counter.weight = plan.weight
        arm = self._arms(plan.seed, stream, counter.block, counter.weight)[counter.index]
        if arm == "candidate" and self._full(plan, now):
            return NO_UNIT
        unit = Unit("episode", plan.rollout, stream, counter.block, counter.index, counter.weight)
        counter.index += 1
        if counter.index == shape(counter.weight)[0]:
            counter.block, counter.index = counter.block + 1, 0
        return self._assigned(plan, arm, unit)

    def _of_window(self, plan: Plan, now: float) -> Start:
        """Whoever begins in the same window gets the same arm."""
        block, index = divmod(int(now // plan.window), shape(plan.weight)[0])
        arm = self._arms(plan.seed, "", block, plan.weight)[index]
        if arm == "candidate" and self._full(plan, now):
            return NO_UNIT
        return self._assigned(plan, arm, Unit("window", plan.rollout, "", block, index, plan.weight))

    def _of_client(self, plan: Plan, caller: str, now: float) -> Start:
        client = hashlib.sha256(caller.encode()).hexdigest()[:32]
        arm = of_client(plan.seed, client, plan.weight)
        if arm == "candidate" and self._full(plan, now):
            return NO_UNIT
        return self._assigned(plan, arm, Unit("client", plan.rollout, client, weight=plan.weight))

    def _counted(self, plan: Plan, stream: str) -> Start:
        """Shadow and watch: every start is one, and stable acts."""
        counter = self._counter(plan.rollout)
        unit = Unit("shadow" if plan.kind == "shadow" else "watch", plan.rollout, stream, counter.index)
        counter.index += 1
        return self._assigned(plan, "stable", unit)

    def _assigned(self, plan: Plan, arm: Arm, unit: Unit) -> Start:
        return arm, str(unit), plan.candidate if arm == "candidate" else ""

    def _full(self, plan: Plan, now: float) -> bool:
        return plan.concurrent is not None and self.running.count(now) >= plan.concurrent

    def _counter(self, rollout: str) -> Counter:
        """The counter of the plan's rollout. Shadow and canary of a rollout count apart."""
        name = f"{self._plan.kind}/{rollout}"
        if name not in self._counters:
            self._counters[name] = Counter()
            if len(self._counters) > ROLLOUTS_KNOWN:
                self._counters.popitem(last=False)
        self._counters.move_to_end(name)
        return self._counters[name]


def planned(word: AgentDeployment) -> Plan:
    """What a word says of new episodes."""
    status, strategy = word.status, word.spec.strategy
    rollout, step, candidate = status.rollout, status.step, status.candidate
    if strategy is None:
        return NO_PLAN
    if candidate is None or rollout is None or step is None:
        watched = strategy.watch is not None and status.stable is not None and candidate is None
        return Plan("watch", watch_id(word)) if watched else NO_PLAN
    if step.kind == "Shadow" and strategy.shadow is not None:
        return Plan("shadow", rollout.id, rollout.seed, candidate=key(candidate), share=float(strategy.shadow.share))
    if step.kind in ("Canary", "Approval") and 0 < step.weight < 100 and _clocked(strategy):
        return Plan(
            strategy.unit.lower(),
            rollout.id,
            rollout.seed,
            step.weight,
            step.concurrent,
            strategy.window.total_seconds() if strategy.window else 0.0,
            key(candidate),
        )
    return NO_PLAN


def watch_id(word: AgentDeployment) -> str:
    """What stands for a rollout's id while stable is watched."""
    stable = word.status.stable
    return f"{stable.name if stable else ''}.e{word.status.epoch}"


def _clocked(strategy: Strategy) -> bool:
    return strategy.unit != "Window" or bool(strategy.window)
