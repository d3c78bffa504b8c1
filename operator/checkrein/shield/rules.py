"""The shield's rules, checked against the interface and compiled. Actions here are plain: a number or a flat list."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

import msgspec
import numpy as np

from checkrein.api.shield import ShieldRule
from checkrein.api.spaces import Interface, Space
from checkrein.shield.arrays import Array, array_samples, bounds, inside, samples
from checkrein.shield.expressions import Expression, ExpressionError, Vocabulary, plain

MOST_TRIES = 1024
"""Actions that one decision looks at in search of one that may be executed."""
SITUATION = ("observation", "features", "previous", "step")
Failed = Callable[[ExpressionError], None]


class RuleError(ValueError):
    """What is wrong with a field of a rule, as a sentence."""


class Moment(msgspec.Struct, frozen=True, gc=False):
    """What rules look at in one decision: CEL's variables, None without expressions, and the action before."""

    context: Any
    previous: Any

    def asks(self, expression: Expression, action: Any) -> bool:
        """Whether it is true with this action. Raises ExpressionError."""
        self.context.add_variable("action", action)
        return expression.holds(self.context)


class Demand(Protocol):
    """What a rule asks of an action."""

    @property
    def mends(self) -> bool:
        """Whether it says itself what to do instead."""

    def kept(self, action: Any, moment: Moment) -> bool:
        """Whether the action is in order; False for NaN."""

    def mend(self, action: Any, moment: Moment) -> Any:
        """The nearest action that is; the same one where the rule does not say."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, ready to be asked. `failed` hears of each expression that failed."""

    name: str
    terminate: bool
    when: Expression | None
    demand: Demand
    failed: Failed

    @property
    def looks_back(self) -> bool:
        """Whether it needs the action before."""
        expressions = (self.when, self.demand.expression if isinstance(self.demand, Require) else None)
        return isinstance(self.demand, MaxChange) or any(e and "previous" in e.variables for e in expressions)

    def applies(self, moment: Moment) -> bool:
        """Whether it holds at this moment. A condition that fails counts as true: the strictest that it can mean."""
        if self.when is None:
            return True
        try:
            return self.when.holds(moment.context)
        except ExpressionError as error:
            self.failed(error)
            return True

    def kept(self, action: Any, moment: Moment) -> bool:
        """Whether the action keeps it. A requirement that fails is not kept."""
        try:
            return self.demand.kept(action, moment)
        except ExpressionError as error:
            self.failed(error)
            return False


@dataclass(frozen=True, slots=True)
class Forbid:
    """Discrete actions that are not executed."""

    actions: frozenset[int]
    mends: bool = False

    def kept(self, action: Any, moment: Moment) -> bool:
        return action not in self.actions

    def mend(self, action: Any, moment: Moment) -> Any:
        return action


@dataclass(frozen=True, slots=True)
class Require:
    """An expression that must be true."""

    expression: Expression
    mends: bool = False

    def kept(self, action: Any, moment: Moment) -> bool:
        return moment.asks(self.expression, action)

    def mend(self, action: Any, moment: Moment) -> Any:
        return action


class Clip:
    """Bounds that stand still, one for each element."""

    mends = True

    def __init__(self, low: Sequence[float], high: Sequence[float], *, scalar: bool) -> None:
        self._low, self._high, self._scalar = low, high, scalar

    def kept(self, action: Any, moment: Moment) -> bool:
        return inside(self._low, [action] if self._scalar else action, self._high)

    def mend(self, action: Any, moment: Moment) -> Any:
        return _moved(action, self._low, self._high, self._scalar)


class MaxChange:
    """Bounds around the action before, as the space's dtype rounds them; none for the first action."""

    mends = True

    def __init__(self, change: Sequence[float], low: Array, high: Array, *, scalar: bool) -> None:
        wide = np.int64 if low.dtype.kind in "iu" else np.float64
        self._change, self._low, self._high = np.array(change, wide), low.astype(wide), high.astype(wide)
        self._dtype, self._scalar = low.dtype, scalar

    def kept(self, action: Any, moment: Moment) -> bool:
        if moment.previous is None:
            return True
        low, high = self._around(moment.previous)
        return inside(low, [action] if self._scalar else action, high)

    def mend(self, action: Any, moment: Moment) -> Any:
        if moment.previous is None:
            return action
        return _moved(action, *self._around(moment.previous), self._scalar)

    def _around(self, previous: Any) -> tuple[list[float], list[float]]:
        before = np.asarray(previous).reshape(-1)
        low = np.maximum(before - self._change, self._low).astype(self._dtype)  # within the dtype's range
        high = np.minimum(before + self._change, self._high).astype(self._dtype)
        return low.tolist(), high.tolist()


def _moved(action: Any, low: Sequence[float], high: Sequence[float], scalar: bool) -> Any:
    values = [action] if scalar else action
    moved = [min(max(value, least), greatest) for value, least, greatest in zip(values, low, high, strict=True)]
    return moved[0] if scalar else moved


def _count(space: Space) -> int:
    """Number of actions; 1 for a Box, where only single ones are tried."""
    if space.type == "Box":
        return 1
    return (space.n or 1) if space.type == "Discrete" else math.prod(space.nvec or [2] * space.size)


class Compiler:
    """Makes rules for one interface. Raises RuleError."""

    def __init__(self, interface: Interface, features: Sequence[str]) -> None:
        self._interface, self._space = interface, interface.action
        self._scalar = not (self._space.shape or self._space.nvec)
        try:
            self.vocabulary = Vocabulary(interface, features)
        except ExpressionError as error:
            raise RuleError(str(error)) from error

    def rule(self, given: ShieldRule, failed: Failed) -> Rule:
        """One rule. Raises RuleError."""
        when = self._expression("when", given.when, SITUATION, 1) if given.when else None
        return Rule(given.name, given.otherwise == "Terminate", when, self._demand(given), failed)

    def _demand(self, given: ShieldRule) -> Demand:
        if given.forbid is not None:
            return self._forbid(given.forbid)
        if given.clip is not None:
            return self._clip(given.clip.low, given.clip.high)
        if given.max_change is not None:
            return self._max_change(given.max_change)
        if given.require is not None:
            tries = min(_count(self._space), MOST_TRIES)
            return Require(self._expression("require", given.require, (*SITUATION, "action"), tries))
        raise RuleError("set exactly one of forbid, clip, maxChange, require")

    def _forbid(self, actions: Sequence[int]) -> Forbid:
        if self._space.type != "Discrete":
            raise RuleError(f"forbid needs Discrete actions, these are {self._space.describe()}; use clip or require")
        start, count = self._space.start or 0, self._space.n or 1
        for action in actions:
            if not start <= action < start + count:
                raise RuleError(f"forbid: {action} is no action; they go from {start} to {start + count - 1}")
        if len(set(actions)) == count:
            raise RuleError("forbid leaves no action that may be executed; leave one out")
        return Forbid(frozenset(actions))

    def _clip(self, low: Sequence[Decimal], high: Sequence[Decimal]) -> Clip:
        least, greatest = self._box("clip")
        floor = np.maximum(self._elements("clip.low", low, math.ceil), least)
        ceiling = np.minimum(self._elements("clip.high", high, math.floor), greatest)
        if not (floor <= ceiling).all():
            at = int((floor > ceiling).argmax())
            raise RuleError(f"clip leaves element {at} no value within {self._space.describe()}; move low or high")
        floor, ceiling = floor.astype(least.dtype), ceiling.astype(least.dtype)
        return Clip(floor.tolist(), ceiling.tolist(), scalar=self._scalar)

    def _max_change(self, change: Sequence[Decimal]) -> MaxChange:
        low, high = self._box("maxChange")
        if any(element < 0 for element in change):
            raise RuleError("maxChange must not be below zero")
        return MaxChange(self._elements("maxChange", change, math.floor), low, high, scalar=self._scalar)

    def _box(self, field: str) -> tuple[Array, Array]:
        if self._space.type != "Box":
            raise RuleError(f"{field} needs Box actions, these are {self._space.describe()}; use forbid or require")
        low, high = bounds(self._space)
        return low.ravel(), high.ravel()

    def _elements(self, field: str, given: Sequence[Decimal], whole: Callable[[Decimal], int]) -> list[float]:
        """One number for each element; `whole` rounds those of a space that holds whole numbers only."""
        if len(given) not in (1, self._space.size):
            raise RuleError(f"{field} has {len(given)} elements, {self._space.describe()} has {self._space.size}")
        floating = np.issubdtype(np.dtype(self._space.dtype), np.floating)
        numbers = [float(element) if floating else whole(element) for element in given]
        return numbers * self._space.size if len(numbers) == 1 else numbers

    def _expression(self, field: str, source: str, variables: tuple[str, ...], times: int) -> Expression:
        try:
            expression = self.vocabulary.compile(source, variables, times)
            _try(expression, self.vocabulary, self._interface)
        except ExpressionError as error:
            raise RuleError(f"{field}: {error}") from error
        return expression


def _try(expression: Expression, vocabulary: Vocabulary, interface: Interface) -> None:
    """Ask it about some observations and actions. Raises the last ExpressionError where it is true or false of none.

    It may fail on some: `previous < action` does so at the first step, and the rule counts as broken there.
    """
    last: ExpressionError | None = None
    actions = array_samples(interface.action, 1, seed=0)
    for observation in samples(interface.observation, 1, seed=0):
        for previous in (None, *actions):
            context = vocabulary.context(observation, previous, step=0)
            for proposed in actions:
                context.add_variable("action", plain(proposed))
                try:
                    expression.holds(context)
                    return
                except ExpressionError as error:
                    last = error
    if last is not None:
        raise ExpressionError(f"neither true nor false of any observation and action that were tried: {last}") from last


def fixed(space: Space, action: Array) -> Array:
    """An action from the spec, flat there, as the space has it. Raises RuleError where it lies outside."""
    low, high = bounds(space)
    if action.size != low.size or not ((low <= action.reshape(low.shape)) & (action.reshape(low.shape) <= high)).all():
        raise RuleError(f"spec.fallback.action is not in {space.describe()}")
    return action.reshape(low.shape).astype(low.dtype)
