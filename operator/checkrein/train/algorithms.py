"""The trainer's half of the table of algorithms: a new one is one more entry here and in `checkrein.api.algorithms`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from checkrein.api import algorithms as api
from checkrein.train.networks import ActorCritic, QFunction


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
    "DQN": Algorithm(DQN, QFunction, counters=("_n_calls", "exploration_rate")),
}
assert ALGORITHMS.keys() == api.ALGORITHMS.keys()
