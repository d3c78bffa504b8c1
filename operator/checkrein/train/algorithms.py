"""The trainer's half of the table of algorithms: a new one is one more entry here and in `checkrein.api.algorithms`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sb3_contrib import QRDQN, TQC, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from checkrein.api import algorithms as api
from checkrein.train.networks import (
    ActorCritic,
    DeterministicActor,
    MaskedActorCritic,
    QFunction,
    QuantileFunction,
    RecurrentActorCritic,
    SquashedActor,
)


@dataclass(frozen=True)
class Algorithm:
    """How the trainer treats one algorithm of Stable-Baselines3 or sb3-contrib."""

    library: type[BaseAlgorithm]
    network: Callable[[Any], nn.Module]
    """From the library's policy to the module that is exported (see `networks`)."""
    device: str = "auto"
    """Where small networks learn fastest; on-policy ones do so on the CPU (SB3, documentation of PPO)."""
    counters: tuple[str, ...] = ()
    """Attributes, beside those that all algorithms share, that a checkpoint keeps."""
    policies: str = "{}Policy"
    """Names of the library's policies; in the gap stands what an observation needs: Mlp, Cnn, MultiInput."""
    network_arguments: tuple[str, ...] = ()
    """Arguments of those policies that a spec may give like hyperparameters, as RL Baselines3 Zoo has them."""


ALGORITHMS: dict[str, Algorithm] = {
    "PPO": Algorithm(PPO, ActorCritic, device="cpu"),
    "A2C": Algorithm(A2C, ActorCritic, device="cpu"),
    "DQN": Algorithm(DQN, QFunction, counters=("_n_calls", "exploration_rate")),
    "SAC": Algorithm(SAC, SquashedActor),
    "TD3": Algorithm(TD3, DeterministicActor),
    "DDPG": Algorithm(DDPG, DeterministicActor),
    "QRDQN": Algorithm(
        QRDQN, QuantileFunction, counters=("_n_calls", "exploration_rate"), network_arguments=("n_quantiles",)
    ),
    "TQC": Algorithm(TQC, SquashedActor, network_arguments=("n_quantiles", "n_critics")),
    "RecurrentPPO": Algorithm(
        RecurrentPPO,
        RecurrentActorCritic,
        device="cpu",
        policies="{}LstmPolicy",
        network_arguments=("lstm_hidden_size", "n_lstm_layers", "shared_lstm", "enable_critic_lstm"),
    ),
    "MaskablePPO": Algorithm(MaskablePPO, MaskedActorCritic, device="cpu"),
}
assert ALGORITHMS.keys() == api.ALGORITHMS.keys()
