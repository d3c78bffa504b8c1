"""From a task to the library's objects: vectorised environments and an algorithm, and how both start over at a seam."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize
from torch import nn

from checkrein.api.algorithms import misfit
from checkrein.api.environment import RLEnvironmentSpec
from checkrein.api.tasks import TrainingTask
from checkrein.api.training import AlgorithmSpec
from checkrein.train import hyperparameters
from checkrein.train.algorithms import ALGORITHMS, Algorithm
from checkrein.train.cut import Cut
from checkrein.train.failures import Failed, describe
from checkrein.train.seeds import initial_seed, training_seed
from checkrein.wrappers.environments import EnvironmentFault, from_zero, make_environment
from checkrein.wrappers.spaces import interface

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
}


def build(task: TrainingTask) -> BaseAlgorithm:
    """The algorithm, ready to learn. Raises Failed where the spec cannot be trained as it is."""
    spec = task.spec.algorithm
    if why := misfit(spec.name, task.interface):
        raise Failed("AlgorithmMisfit", why, permanent=True)
    algorithm = ALGORITHMS[spec.name]
    arguments = hyperparameters.check(algorithm.library, spec.hyperparameters)
    environments = _environments(task, arguments.get("gamma", hyperparameters.default(algorithm.library, "gamma")))
    try:
        return _construct(algorithm, spec, environments, task.spec.seed, arguments)
    except (AssertionError, TypeError, ValueError, NotImplementedError) as error:
        message = f"{hyperparameters.FIELD}: {spec.name} refuses them ({describe(error)}); correct or leave them out"
        raise Failed("InvalidHyperparameters", message, permanent=True) from error


def start_over(model: BaseAlgorithm, seed: int) -> None:
    """Make this moment a seam: truncate open episodes, reseed every generator, reset every environment.

    Done at each checkpoint, in runs that are never interrupted too, so that one that resumes there is no different.
    Of PPO, every step was already bootstrapped when a rollout ends; a replay buffer is told that episodes were cut.
    """
    here = training_seed(seed, model.num_timesteps)
    model.set_random_seed(here)
    environments = model.get_env()
    assert environments is not None
    _truncate_last(getattr(model, "replay_buffer", None))
    model._last_obs = environments.reset()  # type: ignore[assignment]
    _stagger(environments, [int(episode["l"]) for episode in model.ep_info_buffer or ()], here)
    model._last_episode_starts = np.ones(environments.num_envs, dtype=bool)
    if normalizer := model.get_vec_normalize_env():
        model._last_original_obs = normalizer.get_original_obs()
    if model.use_sde:
        model.policy.reset_noise(environments.num_envs)  # type: ignore[operator]


def observation_statistics(model: BaseAlgorithm) -> RunningMeanStd | None:
    """Running mean and variance by which observations are normalised, where they are."""
    normalizer = model.get_vec_normalize_env()
    if normalizer is None or not normalizer.norm_obs:
        return None
    assert isinstance(normalizer.obs_rms, RunningMeanStd)  # a dict only for Dict spaces
    return normalizer.obs_rms


def is_finite(model: BaseAlgorithm) -> bool:
    """Whether no parameter of the networks is NaN or infinite."""
    return all(bool(torch.isfinite(p).all()) for p in model.policy.parameters())


def _construct(
    algorithm: Algorithm, spec: AlgorithmSpec, environments: VecEnv, seed: int, arguments: dict[str, Any]
) -> BaseAlgorithm:
    return algorithm.library(
        "MlpPolicy",
        environments,
        seed=initial_seed(seed),
        device=algorithm.device,
        policy_kwargs={
            "net_arch": list(spec.network.hidden),
            "activation_fn": ACTIVATIONS[spec.network.activation],
        },
        **arguments,
    )


def _environments(task: TrainingTask, gamma: float) -> VecEnv:
    """The copies, in this process (subprocesses would go here), with running normalisation if asked for."""
    make: Callable[[], gymnasium.Env[Any, Any]] = partial(_copy, task.environment)
    try:
        _check_interface(task)
        environments: VecEnv = DummyVecEnv([make] * task.spec.environments)
    except EnvironmentFault as fault:
        raise Failed(fault.reason, str(fault), permanent=True) from fault
    normalize = task.spec.algorithm.normalize
    if normalize.observation and task.interface.observation.type != "Box":
        message = (
            f"spec.algorithm.normalize.observation: {task.interface.observation.describe()} has no scale; set false"
        )
        raise Failed("InvalidHyperparameters", message, permanent=True)
    if normalize.observation or normalize.reward:
        environments = VecNormalize(
            environments, norm_obs=normalize.observation, norm_reward=normalize.reward, gamma=gamma
        )
    return environments


def _copy(spec: RLEnvironmentSpec) -> gymnasium.Env[Any, Any]:
    return Cut(Monitor(from_zero(make_environment(spec))))


def _check_interface(task: TrainingTask) -> None:
    """The image may have changed since the probe."""
    env = make_environment(task.environment)
    found = interface(env)
    env.close()
    if found != task.interface:
        raise Failed(
            "EnvironmentChanged",
            f"spec.environmentRef: the environment now has spaces {found.observation.describe()}, "
            f"{found.action.describe()}, not those of its probe; make a new RLEnvironment",
            permanent=True,
        )


def _stagger(environments: VecEnv, lengths: list[int], seed: int) -> None:
    """Cut each copy's first episode at a random step, or the copies would go on in step.

    A policy that lasts to the limit would then see early states in one rollout and late ones in another, and forget.
    """
    if lengths:
        usual = max(1, sum(lengths) // len(lengths))
        for copy, steps in enumerate(np.random.default_rng(seed).integers(1, usual + 1, environments.num_envs)):
            environments.env_method("cut_after", int(steps), indices=copy)


def _truncate_last(buffer: Any) -> None:
    if buffer is not None and buffer.size():
        last = (buffer.pos - 1) % buffer.buffer_size
        buffer.timeouts[last] = np.logical_or(buffer.timeouts[last], np.logical_not(buffer.dones[last]))
