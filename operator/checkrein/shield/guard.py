"""Rules that no executed action breaks, whoever proposed it: a policy, exploration or a person.

Rules are asked in order, and each sees what the ones before it made of the action. What is executed in the end keeps
every rule that holds at that moment; where no such action is found, nothing may be executed. Whatever goes wrong in an
expression counts against the action: a condition (`when`) that fails holds, a requirement (`require`) that fails is
broken. `docs/shield.md` has examples.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np

from checkrein.api.shield import ShieldRule
from checkrein.api.spaces import Interface
from checkrein.judge.distributions import pushed
from checkrein.shield.arrays import Array, Observation, bounds
from checkrein.shield.expressions import ExpressionError, plain
from checkrein.shield.rules import MOST_TRIES, Compiler, Moment, Rule, RuleError, fixed

log = logging.getLogger(__name__)


class ShieldError(ValueError):
    """A rule that cannot be kept here; names the rule and the field."""


class Ruling(msgspec.Struct, frozen=True, gc=False):
    """What became of a proposed action."""

    action: Array | None
    """What may be executed; None: nothing may."""
    rule: str | None
    """The first rule that was broken, or the one that ends the episode."""
    terminate: bool = False
    """The episode ends."""


class Guard:
    """The rules of one policy's environment and of the deployment, in this order. Not for several threads at once.

    `fallback` is the action to execute where a broken rule names no other; flat or of the action's shape. `errors`
    counts for each rule how often one of its expressions failed. Raises ShieldError.
    """

    def __init__(
        self, rules: Sequence[ShieldRule], interface: Interface, features: Sequence[str], fallback: Array | None
    ) -> None:
        self.errors: Counter[str] = Counter()
        self._space = interface.action
        low, high = bounds(interface.action)
        self._dtype, self._shape = low.dtype, low.shape
        self._discrete = interface.action.type == "Discrete"
        self._least, self._most = (int(low), int(high)) if self._discrete else (0, 0)
        try:
            compiler = Compiler(interface, features if rules else ())
            self._rules = [self._compiled(compiler, rule) for rule in rules]
            self._fallback = plain(fixed(interface.action, fallback)) if rules and fallback is not None else None
        except RuleError as error:
            raise ShieldError(str(error)) from error
        self._vocabulary = compiler.vocabulary
        self._needs_previous = any(rule.looks_back for rule in self._rules)

    def _compiled(self, compiler: Compiler, rule: ShieldRule) -> Rule:
        try:
            return compiler.rule(rule, partial(self._failed, rule.name))
        except RuleError as error:
            raise RuleError(f"shield rule {rule.name}: {error}") from error

    @property
    def needs_previous(self) -> bool:
        """Whether rules look at the action before, so that it must travel with the episode."""
        return self._needs_previous

    def rule(
        self, observation: Observation, action: Array, previous: Array | None, step: int, scores: Array | None
    ) -> Ruling:
        """What may be executed instead of `action`, or itself. `scores` rank what replaces a Discrete action.

        `previous` may be flat, and of another dtype, as it travels with the episode.
        An action outside a Discrete space is never executed; for other spaces that is the policy's own check.
        """
        if not self._rules:
            return Ruling(action, None)
        if (value := self._plain(action)) is None:
            return Ruling(None, None)
        moment = self._moment(observation, previous, step)
        active = [rule for rule in self._rules if rule.applies(moment)]
        broken: str | None = None
        for rule in active:
            if rule.kept(value, moment):
                continue
            broken = broken or rule.name
            if rule.terminate:
                return Ruling(None, rule.name, terminate=True)
            if not rule.demand.mends:
                break
            value = rule.demand.mend(value, moment)
        if broken is None:
            return Ruling(action, None)
        if _keeps_all(active, value, moment):
            return Ruling(self._array(value), broken)
        return self._instead(active, value, moment, scores, broken)

    def _instead(self, active: Sequence[Rule], value: Any, moment: Moment, scores: Array | None, broken: str) -> Ruling:
        """Another action; where there is none a rule that ends episodes has its say."""
        found = self._replacement(active, moment, scores)
        if found is not None:
            return Ruling(self._array(found), broken)
        ending = next((rule.name for rule in active if rule.terminate and not rule.kept(value, moment)), None)
        return Ruling(None, ending or broken, terminate=ending is not None)

    def permitted(
        self, observation: Observation, previous: Array | None, step: int, scores: Array | None = None
    ) -> Array | None:
        """For each Discrete action, counted from 0, which one is executed instead; -1: none. Else None.

        None as well where there are more than `MOST_TRIES` actions.
        """
        if not self._discrete or self._most - self._least >= MOST_TRIES:
            return None
        onto = np.arange(self._most - self._least + 1)
        if not self._rules:
            return onto
        moment = self._moment(observation, previous, step)
        active = [rule for rule in self._rules if rule.applies(moment)]
        first = [self._first_broken(active, index + self._least, moment) for index in onto.tolist()]
        if any(first):
            found = self._replacement(active, moment, scores)
            instead = -1 if found is None else found - self._least
            onto = np.array(
                [i if rule is None else -1 if rule.terminate else instead for i, rule in enumerate(first)], onto.dtype
            )
        return onto

    def propensity(
        self,
        proposed: float | None,
        probabilities: Array | None,
        ruling: Ruling,
        observation: Observation,
        previous: Array | None,
        step: int,
        scores: Array | None,
    ) -> float | None:
        """Of the executed action: over all proposals that end in it, given what `rule` was given. None: it has none.

        `proposed` is that of the proposed action, `probabilities` those of all actions where a Discrete one was drawn.
        """
        if ruling.action is None:
            return None
        if not self._rules or (proposed == 1.0 and probabilities is None):
            return proposed  # what is certain stays so, whatever the rules make of it
        if probabilities is not None:
            onto = self.permitted(observation, previous, step, scores)
            total = None if onto is None else float(pushed(probabilities, onto)[self.index(ruling.action)])
            return total or None
        if self._space.type == "Box":  # an action that was moved or replaced has a probability and no density
            return proposed if ruling.rule is None else None
        return None  # too many combinations to add up those that end here

    def index(self, action: Array) -> int:
        """Of a Discrete action, counted from 0."""
        return int(action) - self._least

    def _first_broken(self, active: Sequence[Rule], value: int, moment: Moment) -> Rule | None:
        return next((rule for rule in active if not rule.kept(value, moment)), None)

    def _moment(self, observation: Observation, previous: Array | None, step: int) -> Moment:
        before = None
        if self._needs_previous and previous is not None:
            before = np.asarray(previous, self._dtype).reshape(self._shape)
        context = self._vocabulary.context(observation, before, step)
        return Moment(context, None if before is None else plain(before))

    def _replacement(self, active: Sequence[Rule], moment: Moment, scores: Array | None) -> Any:
        """The first action to be found that keeps all rules; None where there is none among those tried."""
        for value in itertools.islice(self._candidates(scores), MOST_TRIES):
            for rule in active:
                value = rule.demand.mend(value, moment)
            if _keeps_all(active, value, moment):
                return value
        return None

    def _candidates(self, scores: Array | None) -> Iterator[Any]:
        """The best first, then the fallback, then the least. In a Box there is the fallback alone."""
        if self._discrete and scores is not None:
            yield from (index + self._least for index in _best(scores, MOST_TRIES - 2))
            if len(scores) <= MOST_TRIES - 2:
                return
        if self._fallback is not None:
            yield self._fallback
        if self._discrete:
            yield from range(self._least, self._most + 1)
        elif self._space.type != "Box":
            sizes = self._space.nvec or [2] * self._space.size
            yield from map(list, itertools.product(*map(range, sizes)))

    def _plain(self, action: Array) -> Any:
        if not self._discrete:
            return plain(action)
        value = action.item()
        return int(value) if self._least <= value <= self._most and value == int(value) else None

    def _array(self, value: Any) -> Array:
        return np.array(value, self._dtype).reshape(self._shape)

    def _failed(self, rule: str, error: ExpressionError) -> None:
        self.errors[rule] += 1
        if self.errors[rule] == 1:
            log.warning("shield rule %s fails, which counts against every action: %s", rule, error)


def _keeps_all(active: Sequence[Rule], value: Any, moment: Moment) -> bool:
    return all(rule.kept(value, moment) for rule in active)


def _best(scores: Array, count: int) -> list[int]:
    """Places of the greatest scores, the greatest first, of equal ones the first; NaN comes last."""
    if len(scores) <= count:
        best: list[int] = np.argsort(-scores, kind="stable").tolist()
    else:
        some = np.sort(np.argpartition(-scores, count)[:count])
        best = some[np.argsort(-scores[some], kind="stable")].tolist()
    return best
