"""The trainer's half of the table of algorithms: a new one is one more entry here and in `checkrein.api.algorithms`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from checkrein.api import algorithms as api
from checkrein.train.networks import ActorCritic, DeterministicActor, QFunction, SquashedActor


@dataclass(frozen=True)
class Algorithm:
    """How the trainer treats one algorithm of Stable-Baselines3."""

    library: type[BaseAlgorithm]
    network: Callable[[Any], nn.Module]
    """From the library's policy to the module that is exported (see `networks`)."""
    device: str = "auto"
    """Where small networks learn fastest; on-policy ones do so on the CPU (SB3, documentation of PPO)."""
    counters: tuple[str, ...] = ()
    """Attributes, beside those that all algorithms share, that a checkpoint keeps."""


ALGORITHMS: dict[str, Algorithm] = {
    "PPO": Algorithm(PPO, ActorCritic, device="cpu"),
    "A2C": Algorithm(A2C, ActorCritic, device="cpu"),
    "DQN": Algorithm(DQN, QFunction, counters=("_n_calls", "exploration_rate")),
    "SAC": Algorithm(SAC, SquashedActor),
    "TD3": Algorithm(TD3, DeterministicActor),
    "DDPG": Algorithm(DDPG, DeterministicActor),
}
assert ALGORITHMS.keys() == api.ALGORITHMS.keys()
