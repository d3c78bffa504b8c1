"""The wrappers of a spec, put around an environment."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import TransformObservation, TransformReward

from checkrein.api.wrappers import ClipReward, GymnasiumWrapper, Wrapper
from checkrein.wrappers.faults import EnvironmentFault
from checkrein.wrappers.masks import Masked

Env = gymnasium.Env[Any, Any]
IMAGE_DIMENSIONS = 3


def at_client(env: Env, wrappers: Sequence[Wrapper]) -> Env:
    """With the wrappers at Client: the environment that agents and their callers speak of. Raises EnvironmentFault."""
    for index, wrapper in enumerate(wrappers):
        if wrapper.gymnasium is not None:
            env = _gymnasium(env, wrapper.gymnasium, f"spec.wrappers[{index}].gymnasium")
        if wrapper.action_mask is not None:
            env = Masked(env, f"spec.wrappers[{index}].actionMask")
    return env


def at_policy(env: Env, wrappers: Sequence[Wrapper]) -> Env:
    """With the wrappers at Policy around an environment that counts from zero: what the network learns to see.

    Raises EnvironmentFault.
    """
    for index, wrapper in enumerate(wrappers):
        if wrapper.flatten is not None:
            env = _flat(env)
        if wrapper.stack is not None:
            env = Stacked(env, wrapper.stack.frames, f"spec.wrappers[{index}].stack")
    return env


def in_training(env: Env, wrappers: Sequence[Wrapper]) -> Env:
    """With the wrappers at TrainingOnly: rewards as the algorithm gets them."""
    for wrapper in wrappers:
        if wrapper.clip_reward is not None:
            env = _clipped(env, wrapper.clip_reward)
        if wrapper.scale_reward is not None:
            factor = float(wrapper.scale_reward.factor)
            env = TransformReward(env, lambda reward, factor=factor: float(reward) * factor)  # type: ignore[misc]
    return env


def _clipped(env: Env, clip: ClipReward) -> Env:
    low, high = float(clip.min), float(clip.max)
    return TransformReward(env, lambda reward: min(max(float(reward), low), high))


def _gymnasium(env: Env, wrapper: GymnasiumWrapper, field: str) -> Env:
    """One of gymnasium's own. Lists of numbers are arrays to it, but for shapes and names."""
    build = getattr(gymnasium.wrappers, wrapper.name)
    arguments = {name: _argument(name, value) for name, value in wrapper.arguments.items()}
    try:
        inspect.signature(build).bind(env, **arguments)
    except TypeError as error:
        raise EnvironmentFault("InvalidArguments", f"{field}.kwargs: {wrapper.name}: {error}") from error
    try:
        wrapped: Env = build(env, **arguments)
    except (AssertionError, AttributeError, TypeError, ValueError, gymnasium.error.Error) as error:
        raise EnvironmentFault(
            "InvalidWrapper", f"{field}: {wrapper.name} does not fit the environment below it: {error}"
        ) from error
    return wrapped


def _argument(name: str, value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return np.array(value) if name.startswith(("min_", "max_")) else tuple(value)


def _flat(env: Env) -> Env:
    """As gymnasium flattens, but with the members of a Dict in their keys' order, which is that of the interface."""
    inner = env.observation_space
    ordered = spaces.Dict({name: inner[name] for name in sorted(inner)}) if isinstance(inner, spaces.Dict) else inner
    outer = spaces.flatten_space(ordered)
    assert isinstance(outer, spaces.Box), outer  # every space that can be described flattens to one
    return TransformObservation(env, lambda value: spaces.flatten(ordered, value), outer)


def stack_axis(space: spaces.Space[Any]) -> int:
    """Where frames lie side by side: along the channels of an image, which are the least dimension, else the last."""
    shape = space.shape or ()
    image = len(shape) == IMAGE_DIMENSIONS and space.dtype == np.uint8
    return 0 if image and int(np.argmin(shape)) == 0 else len(shape) - 1


class Stacked(gymnasium.Wrapper[Any, Any, Any, Any]):
    """The latest observations side by side, the newest last; zeros before an episode's first."""

    def __init__(self, env: Env, frames: int, field: str = "stack") -> None:
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, spaces.Box) or not space.shape:
            raise EnvironmentFault(
                "InvalidWrapper", f"{field}: only arrays can be stacked, not {space}; put flatten: {{}} before it"
            )
        self._axis = stack_axis(space)
        self._require_room(space, frames, field)
        low, high = (np.concatenate([bound] * frames, axis=self._axis) for bound in (space.low, space.high))
        self.observation_space = spaces.Box(low, high, dtype=space.dtype.type)
        self._zeros = np.zeros_like(low)
        self._stack = self._zeros
        self._width = space.shape[self._axis]

    def _require_room(self, space: spaces.Box, frames: int, field: str) -> None:
        """Of an image's dimensions the least is taken for the channels."""
        if len(space.shape) == IMAGE_DIMENSIONS and space.dtype == np.uint8:
            others = [extent for axis, extent in enumerate(space.shape) if axis != self._axis]
            if space.shape[self._axis] * frames >= min(others):
                raise EnvironmentFault(
                    "InvalidWrapper", f"{field}.frames: {frames} are too many for images of {space.shape}; take fewer"
                )

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """The first observation after zeros."""
        observation, info = self.env.reset(**kwargs)
        self._stack = self._zeros
        return self._push(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """The observation beside those before it."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._push(observation), reward, terminated, truncated, info

    def _push(self, observation: Any) -> Any:
        older = np.delete(self._stack, np.s_[: self._width], axis=self._axis)
        self._stack = np.concatenate([older, observation], axis=self._axis, dtype=self._stack.dtype)
        return self._stack
