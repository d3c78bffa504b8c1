"""From what a network says to what is executed: the policy acts or explores, and the shield has the last word. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from checkrein.agent.driver import Driver
from checkrein.agent.kernel import Outputs
from checkrein.agent.messages import Regime
from checkrein.agent.policies import Policy
from checkrein.agent.regime import Choice
from checkrein.agent.validation import action_reader
from checkrein.api.spaces import Space
from checkrein.shield.arrays import Array, Observation, element_shape
from checkrein.shield.guard import Guard, Ruling

Draw = Callable[[int], Array]


class Situation(msgspec.Struct, frozen=True, gc=False):
    """Where a decision is taken. `previous` is the action executed before it, of the action's shape."""

    observation: Observation
    previous: Array | None
    step: int


class Execution(msgspec.Struct, frozen=True, gc=False):
    """What one of those who may act comes to. `action` (JSON-ready) is None where the shield lets nothing through.

    `array` is the action of the space's shape.
    """

    regime: Regime
    policy: Policy | None
    proposed: Any
    action: Any
    array: Array | None
    explored: bool = False
    propensity: float | None = None
    value: float | None = None
    rule: str | None = None
    terminate: bool = False
    state: tuple[Array, ...] = ()


def steer(
    choice: Choice, driver: Driver, outputs: Outputs, situation: Situation, draw: Draw, *, explore: bool
) -> Execution:
    """A policy's decision. Raises SpaceError where its action is outside the space."""
    proposal = (driver.explorer if explore else driver.greedy).propose(outputs, draw)
    scores = outputs.logits if outputs.logits is not None else outputs.q_values
    where = (situation.observation, situation.previous, situation.step)
    ruling = driver.guard.rule(where[0], proposal.action, *where[1:], scores)
    proposed = driver.policy.action(proposal.action)
    return Execution(
        regime=choice.regime,
        policy=driver.policy,
        proposed=proposed,
        action=proposed if ruling.action is proposal.action else _read(driver.policy.action, ruling),
        array=ruling.action,
        explored=proposal.explored,
        propensity=driver.guard.propensity(proposal.propensity, proposal.probabilities, ruling, *where, scores),
        value=outputs.value,
        rule=ruling.rule,
        terminate=ruling.terminate,
        state=outputs.state,
    )


def fixed(choice: Choice, guard: Guard, space: Space, situation: Situation) -> Execution:
    """An action fixed beforehand. Raises SpaceError where it is outside the space."""
    assert choice.action is not None
    read = action_reader(space)
    proposed = read(choice.action)
    array = np.asarray(proposed, dtype=space.dtype).reshape(element_shape(space))
    ruling = guard.rule(situation.observation, array, situation.previous, situation.step, None)
    return Execution(
        regime=choice.regime,
        policy=None,
        proposed=proposed,
        action=_read(read, ruling),
        array=ruling.action,
        rule=ruling.rule,
        terminate=ruling.terminate,
    )


def _read(read: Callable[[Array], Any], ruling: Ruling) -> Any:
    return None if ruling.action is None else read(ruling.action)
