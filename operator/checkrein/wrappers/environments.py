"""The one way an environment is made, so that probe, training, evaluation and client cannot differ."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

import gymnasium
from gymnasium import spaces
from gymnasium.wrappers import TransformAction, TransformObservation

from checkrein.api.environment import GymnasiumSource, RLEnvironmentSpec
from checkrein.wrappers.faults import EnvironmentFault
from checkrein.wrappers.layers import at_client, at_policy

__all__ = ["EnvironmentFault", "from_zero", "make_environment", "make_for_learning", "step_limit"]


def make_environment(spec: RLEnvironmentSpec) -> gymnasium.Env[Any, Any]:
    """A fresh copy of the environment as agents and their callers know it, with its wrappers at Client.

    Raises EnvironmentFault, and whatever the constructor itself raises.
    """
    return at_client(_make(spec), spec.wrappers)


def make_for_learning(spec: RLEnvironmentSpec) -> gymnasium.Env[Any, Any]:
    """The same as the network sees it: counting from zero, with the wrappers at Policy, which the artifact holds."""
    return at_policy(from_zero(make_environment(spec)), spec.wrappers)


def _make(spec: RLEnvironmentSpec) -> gymnasium.Env[Any, Any]:
    source = spec.source.gymnasium
    _import(source)
    try:
        gymnasium.spec(source.id)
    except gymnasium.error.Error as error:
        raise _unknown_id(source, error) from error
    try:
        return gymnasium.make(
            source.id,
            max_episode_steps=spec.safety.max_episode_steps,
            disable_env_checker=True,
            **source.arguments,
        )
    except TypeError as error:
        raise EnvironmentFault("InvalidArguments", f"spec.source.gymnasium.kwargs: {error}") from error
    except gymnasium.error.DependencyNotInstalled as error:
        raise EnvironmentFault(
            "ModuleNotFound", f"spec.source.gymnasium.id: {error}; set spec.image to an image that has it"
        ) from error


def step_limit(env: gymnasium.Env[Any, Any]) -> int | None:
    """After how many steps gymnasium truncates an episode, if it does."""
    return env.spec.max_episode_steps if env.spec else None


def from_zero(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """The environment with Discrete spaces that count from 0, as training libraries expect them."""
    observed, acted = env.observation_space, env.action_space
    if isinstance(observed, spaces.Dict):
        env = _members_from_zero(env, observed)
    if isinstance(observed, spaces.Discrete) and observed.start:
        first = observed.start
        env = TransformObservation(env, lambda value: value - first, spaces.Discrete(observed.n))
    if isinstance(acted, spaces.Discrete) and acted.start:
        least = acted.start
        env = TransformAction(env, lambda value: value + least, spaces.Discrete(acted.n))
    return env


def _members_from_zero(env: gymnasium.Env[Any, Any], observed: spaces.Dict) -> gymnasium.Env[Any, Any]:
    """The same for the members of a Dict."""
    starts = {n: m.start for n, m in observed.items() if isinstance(m, spaces.Discrete) and m.start}
    if not starts:
        return env
    members = {n: spaces.Discrete(m.n) if isinstance(m, spaces.Discrete) else m for n, m in observed.items()}

    def shift(value: dict[str, Any]) -> dict[str, Any]:
        return {**value, **{name: value[name] - start for name, start in starts.items()}}

    return TransformObservation(env, shift, spaces.Dict(members))


def _import(source: GymnasiumSource) -> None:
    try:
        if source.module:
            importlib.import_module(source.module)
    except ImportError as error:
        raise EnvironmentFault(
            "ModuleNotFound",
            f"spec.source.gymnasium.module: cannot import {source.module!r} ({error}); "
            "correct it, or set spec.image to an image that has it",
        ) from error


def _unknown_id(source: GymnasiumSource, error: Exception) -> EnvironmentFault:
    close = difflib.get_close_matches(source.id, gymnasium.registry, n=3, cutoff=0.5)
    mend = f"did you mean {' or '.join(close)}?" if close else "set module to the Python module that registers it"
    return EnvironmentFault(
        "EnvironmentNotFound", f"spec.source.gymnasium.id: {source.id!r} is not registered ({error}); {mend}"
    )
