"""Which actions an environment allows now: the member `action_mask` of its Dict observations, as PettingZoo has it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from checkrein.api.spaces import ACTION_MASK
from checkrein.wrappers.faults import EnvironmentFault

Env = gymnasium.Env[Any, Any]
METHOD = "action_masks"
"""By which sb3-contrib's environments tell them."""


class Masked(gymnasium.Wrapper[Any, Any, Any, Any]):
    """What was observed, and beside it what `action_masks()` tells: one bit for each action, or for each choice of each
    element of a MultiDiscrete, one after the other. An observation that is no Dict becomes its member `observation`.

    Raises EnvironmentFault where the environment has no such method.
    """

    def __init__(self, env: Env, field: str) -> None:
        super().__init__(env)
        width = mask_width(env.action_space)
        if not env.has_wrapper_attr(METHOD) or width is None:
            why = f"the environment has no method {METHOD}()" if width else f"{env.action_space} cannot be masked"
            raise EnvironmentFault("InvalidWrapper", f"{field}: {why}; take this wrapper out")
        observed = env.observation_space
        self._is_dict = isinstance(observed, spaces.Dict)
        members = dict(observed) if isinstance(observed, spaces.Dict) else {"observation": observed}
        self.observation_space = spaces.Dict({**members, ACTION_MASK: spaces.MultiBinary(width)})

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """The first observation with its mask."""
        observation, info = self.env.reset(**kwargs)
        return self._beside(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """The observation with its mask."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._beside(observation), reward, terminated, truncated, info

    def _beside(self, observation: Any) -> dict[str, Any]:
        mask = np.asarray(self.env.get_wrapper_attr(METHOD)(), dtype=np.int8).ravel()
        return {**(observation if self._is_dict else {"observation": observation}), ACTION_MASK: mask}


class Telling(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Tells the mask of the newest observation by `action_masks()`, as sb3-contrib asks for it."""

    _mask: Any

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Keeps the mask."""
        observation, info = self.env.reset(**kwargs)
        self._mask = observation[ACTION_MASK]
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Keeps the mask."""
        outcome = self.env.step(action)
        self._mask = outcome[0][ACTION_MASK]
        return outcome

    def action_masks(self) -> Any:
        """Of the newest observation, as booleans."""
        return np.asarray(self._mask, dtype=bool)


def mask_width(action: spaces.Space[Any]) -> int | None:
    """How many bits a mask has; None of a space that cannot be masked."""
    if isinstance(action, spaces.Discrete):
        return int(action.n)
    return int(action.nvec.sum()) if isinstance(action, spaces.MultiDiscrete) else None


def has_mask(observation: spaces.Space[Any]) -> bool:
    """Whether observations of this space tell which actions are allowed."""
    return isinstance(observation, spaces.Dict) and ACTION_MASK in observation.spaces


def sample(env: Env, observation: Any) -> Any:
    """A random action, allowed after this observation."""
    action = env.action_space
    if not has_mask(env.observation_space) or mask_width(action) is None:
        return action.sample()
    mask = np.asarray(observation[ACTION_MASK], dtype=np.int8).ravel()
    if isinstance(action, spaces.MultiDiscrete):
        return action.sample(mask=tuple(np.split(mask, np.cumsum(action.nvec)[:-1])))
    return action.sample(mask=mask)
