"""Which subgroups of the gates an episode belongs to, by its first observation."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from checkrein.api.spaces import Interface
from checkrein.api.strategy import Strategy
from checkrein.shield.arrays import Observation
from checkrein.shield.expressions import Expression, ExpressionError, Vocabulary

VARIABLES = ("observation", "features")
log = logging.getLogger(__name__)


class Subgroups:
    """The expressions of a strategy's gates. What cannot be understood is in `problems`, and nobody belongs to it."""

    def __init__(self) -> None:
        self.problems: dict[str, str] = {}
        self.errors: Counter[str] = Counter()
        self._made: object = None
        self._vocabulary: Vocabulary | None = None
        self._groups: dict[str, Expression] = {}

    def settle(self, strategy: Strategy | None, interface: Interface | None, features: Sequence[str]) -> None:
        """Compile them, unless that was done. `features` name the observation's elements."""
        wanted = _wanted(strategy)
        made = (wanted, interface, tuple(features))
        if made == self._made:
            return
        self._made, self.problems, self._groups, self._vocabulary = made, {}, {}, None
        if not wanted or interface is None:
            return
        try:
            self._vocabulary = Vocabulary(interface, features)
        except ExpressionError as error:
            self.problems["spec.strategy, subgroups"] = str(error)
            return
        for name, when in wanted:
            self._add(name, when)

    def of(self, observation: Observation) -> tuple[str, ...]:
        """Those that an episode belongs to which begins with this observation."""
        if not self._groups or self._vocabulary is None:
            return ()
        context = self._vocabulary.context(observation, None, 0)
        return tuple(name for name, expression in self._groups.items() if self._holds(name, expression, context))

    def _add(self, name: str, when: str) -> None:
        assert self._vocabulary is not None, "there is a vocabulary before there are expressions"
        known = self._groups.get(name)
        if known is not None and known.source != when:
            self.problems[f"spec.strategy, subgroup {name}"] = "two gates define it differently; the first one counts"
            return
        try:
            self._groups[name] = self._vocabulary.compile(when, VARIABLES)
        except ExpressionError as error:
            self.problems[f"spec.strategy, subgroup {name}"] = f"{error}; no episode belongs to it"

    def _holds(self, name: str, expression: Expression, context: object) -> bool:
        try:
            return expression.holds(context)
        except ExpressionError as error:
            self.errors[name] += 1
            if self.errors[name] == 1:
                log.warning("subgroup %s cannot be told, so the episode is not in it: %s", name, error)
            return False


def _wanted(strategy: Strategy | None) -> tuple[tuple[str, str], ...]:
    gates = strategy.canary.gates if strategy and strategy.canary else []
    return tuple((gate.subgroup.name, gate.subgroup.when) for gate in gates if gate.subgroup is not None)
