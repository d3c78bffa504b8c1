"""A policy under the rules of its environment: it is judged by what would be executed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from checkrein.api.environment import Safety
from checkrein.api.spaces import Space
from checkrein.shield.arrays import Array, Observation
from checkrein.shield.guard import Guard, ShieldError
from checkrein.train.failures import Failed
from checkrein.train.policy import Policy, Turn


class Shielded:
    """Acts as the policy does, within the rules; where no deployment's fallback says what else to do."""

    def __init__(self, policy: Policy, safety: Safety) -> None:
        """Raises Failed where a rule does not fit the policy's interface."""
        self.policy = policy
        try:
            self._guard = Guard(safety.shield, policy.interface, safety.features, None) if safety.shield else None
        except ShieldError as error:
            raise Failed("ShieldInvalid", f"spec.safety: {error}", permanent=True) from error

    def act(self, turns: Sequence[Turn]) -> list[Any]:
        """Executable actions, one for each turn; None: nothing may be executed, which ends the episode."""
        outputs = self.policy.say(turns)
        return self.keep(outputs, self.policy.choose(outputs, turns), turns)

    def keep(self, outputs: dict[str, Array], proposed: Sequence[Any], turns: Sequence[Turn]) -> list[Any]:
        """What is executed of these actions. Each turn is told the rule that had to be kept, if any."""
        if self._guard is None:
            return list(proposed)
        scores = outputs.get("logits", outputs.get("q_values", [None] * len(turns)))
        return [self._kept(*one) for one in zip(proposed, scores, turns, strict=True)]

    def _kept(self, proposed: Any, scores: Array | None, turn: Turn) -> Any:
        assert self._guard is not None
        space = self.policy.interface.observation
        action = np.asarray(proposed)
        ruling = self._guard.rule(_seen(space, turn.observation), action, turn.previous, turn.step, scores)
        turn.rule, turn.previous, turn.step = ruling.rule, ruling.action, turn.step + 1
        return proposed if ruling.action is action else None if ruling.action is None else ruling.action[()]


def _seen(space: Space, observation: Any) -> Observation:
    if space.type != "Dict":
        return np.asarray(observation, space.dtype)
    return {name: np.asarray(observation[name], leaf.dtype) for name, leaf in space.leaves.items()}
