"""Noise on a continuous action in training: `noise_type` and `noise_std`, as RL Baselines3 Zoo writes them.

The library takes an object instead, `action_noise`, which a spec cannot hold. A spread of 0.1 is a twentieth of an
action's range: the library adds the noise where actions lie between -1 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from stable_baselines3.common.noise import ActionNoise, NormalActionNoise, OrnsteinUhlenbeckActionNoise

KINDS: dict[str, type[NormalActionNoise | OrnsteinUhlenbeckActionNoise]] = {
    "normal": NormalActionNoise,
    "ornstein-uhlenbeck": OrnsteinUhlenbeckActionNoise,
}
LIBRARY = "action_noise"
TYPE, STD = "noise_type", "noise_std"
HINTS = {TYPE: Literal["normal", "ornstein-uhlenbeck"], STD: float}


def with_noise(arguments: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """Keyword arguments for the library: those for noise made into its object, for actions of this shape."""
    left = {name: value for name, value in arguments.items() if name not in HINTS}
    return left | {LIBRARY: _made(arguments, shape)} if STD in arguments else left


def _made(arguments: Mapping[str, Any], shape: tuple[int, ...]) -> ActionNoise:
    sized = shape or (1,)
    noise = KINDS[arguments.get(TYPE, "normal")](np.zeros(sized), np.full(sized, float(arguments[STD])))
    return noise if shape else _Bare(noise)


class _Bare(ActionNoise):
    """For an action that is one number and no array, which the library's noises cannot make."""

    def __init__(self, noise: ActionNoise) -> None:
        super().__init__()
        self._noise = noise

    def reset(self) -> None:
        self._noise.reset()

    def __call__(self) -> Any:
        return self._noise()[0]
