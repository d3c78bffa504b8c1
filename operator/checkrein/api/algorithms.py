"""Which algorithm can act in which spaces, and how: the one table that planner and trainer share.

Hyperparameters are not listed: the library's own signature judges them, in the trainer, before a step is spent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from checkrein.api.spaces import ACTION_MASK, Interface

AlgorithmName = Literal["PPO", "A2C", "DQN", "SAC", "TD3", "DDPG", "QRDQN", "TQC", "RecurrentPPO", "MaskablePPO"]


@dataclass(frozen=True)
class Algorithm:
    """What the planner needs to know of an algorithm (documentation of Stable-Baselines3 and sb3-contrib)."""

    name: AlgorithmName
    actions: frozenset[str]
    observations: frozenset[str] = frozenset({"Box", "Discrete", "MultiDiscrete", "MultiBinary", "Dict"})
    masked: bool = False
    """Whether it keeps to the actions that an observation allows (`action_mask`)."""
    undrawable: str = ""
    """Why its policy cannot act by drawing from a distribution, as a clause; empty where it can."""


ALGORITHMS: dict[str, Algorithm] = {
    a.name: a
    for a in (
        Algorithm("PPO", actions=frozenset({"Box", "Discrete", "MultiDiscrete", "MultiBinary"})),
        Algorithm("A2C", actions=frozenset({"Box", "Discrete", "MultiDiscrete", "MultiBinary"})),
        Algorithm("DQN", actions=frozenset({"Discrete"}), undrawable="DQN has no distribution to draw from"),
        # What agents draw from is a normal distribution moved into the bounds, which is another one than tanh of it.
        Algorithm("SAC", actions=frozenset({"Box"}), undrawable="SAC's distribution, squashed by tanh, cannot be told"),
        Algorithm("TD3", actions=frozenset({"Box"}), undrawable="TD3 has no distribution to draw from"),
        Algorithm("DDPG", actions=frozenset({"Box"}), undrawable="DDPG has no distribution to draw from"),
        Algorithm("QRDQN", actions=frozenset({"Discrete"}), undrawable="QRDQN has no distribution to draw from"),
        Algorithm("TQC", actions=frozenset({"Box"}), undrawable="TQC's distribution, squashed by tanh, cannot be told"),
        # sb3-contrib 2.9.2 names MultiBinary too, and fails at the first gradient step.
        Algorithm("RecurrentPPO", actions=frozenset({"Box", "Discrete", "MultiDiscrete"})),
        Algorithm(
            "MaskablePPO",
            actions=frozenset({"Discrete", "MultiDiscrete"}),
            observations=frozenset({"Dict"}),
            masked=True,
        ),
    )
}
assert set(ALGORITHMS) == set(get_args(AlgorithmName))


def misfit(name: str, interface: Interface) -> str:
    """Why the algorithm cannot act in these spaces, as a sentence with the mend; empty where it can."""
    algorithm = ALGORITHMS[name]
    if algorithm.masked and (why := _lacking_mask(interface)):
        return f"spec.algorithm.name: {name} {why}"
    for role, space, allowed in (
        ("action", interface.action, algorithm.actions),
        ("observation", interface.observation, algorithm.observations),
    ):
        if space.type not in allowed:
            able = [a.name for a in ALGORITHMS.values() if space.type in getattr(a, f"{role}s") and not a.masked]
            mend = f"use {' or '.join(able)}" if able else "no algorithm of this release can"
            return f"spec.algorithm.name: {name} cannot act in {role} space {space.describe()}; {mend}"
    return ""


def _lacking_mask(interface: Interface) -> str:
    """Why observations do not tell which actions are allowed, with the mend; empty where they do."""
    action, mask = interface.action, interface.observation.leaves.get(ACTION_MASK)
    widths = {"Discrete": action.n or 1, "MultiDiscrete": sum(action.nvec)}
    if action.type not in widths:
        return f"cannot act in action space {action.describe()}; use PPO"
    if mask is None:
        mend = "add the wrapper `actionMask: {}` at Client to the environment, if it has a method action_masks()"
        return f"needs a Dict observation with the member {ACTION_MASK}; {mend}; or use PPO"
    if mask.type not in ("MultiBinary", "Box") or mask.shape != [widths[action.type]]:
        fitting = f"MultiBinary({widths[action.type]})"
        return f"needs {fitting} as member {ACTION_MASK}, one bit for each action, not {mask.describe()}"
    return ""
