"""From a task to the library's objects: vectorised environments and an algorithm, and how both start over at a seam."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.save_util import recursive_getattr
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecNormalize, VecTransposeImage
from torch import nn

from checkrein.api import algorithms as api
from checkrein.api.environment import RLEnvironmentSpec
from checkrein.api.spaces import ACTION_MASK
from checkrein.api.tasks import TrainingTask
from checkrein.api.training import AlgorithmSpec, Normalize
from checkrein.train import hyperparameters
from checkrein.train.algorithms import ALGORITHMS, Algorithm
from checkrein.train.cut import Cut
from checkrein.train.extractors import policy_of, scaled_members
from checkrein.train.failures import Failed, describe
from checkrein.train.noise import with_noise
from checkrein.train.seeds import initial_seed, training_seed
from checkrein.wrappers.environments import EnvironmentFault, make_environment, make_for_learning
from checkrein.wrappers.layers import in_training
from checkrein.wrappers.masks import Telling, has_mask
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
    if why := api.misfit(spec.name, task.interface):
        raise Failed("AlgorithmMisfit", why, permanent=True)
    algorithm = ALGORITHMS[spec.name]
    arguments = hyperparameters.check(algorithm, spec.hyperparameters)
    _require_drawable(spec, arguments)
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
    if noise := getattr(model, "action_noise", None):
        noise.reset()
    _forget(getattr(model, "_last_lstm_states", None))
    if model.use_sde:
        model.policy.reset_noise(environments.num_envs)  # type: ignore[operator]


def observation_statistics(model: BaseAlgorithm) -> dict[str, RunningMeanStd]:
    """Running mean and variance of observations, where they are normalised: by member, else under the empty name."""
    normalizer = model.get_vec_normalize_env()
    if normalizer is None or not normalizer.norm_obs:
        return {}
    found = normalizer.obs_rms
    return dict(found) if isinstance(found, dict) else {"": found}


def transposed(model: BaseAlgorithm) -> frozenset[str]:
    """Members, or the empty name for the whole observation, whose channels the library moves to the front."""
    environments = model.get_env()
    while isinstance(environments, VecEnvWrapper):
        if isinstance(environments, VecTransposeImage) and not environments.skip:
            return frozenset(getattr(environments, "image_space_keys", ("",)))
        environments = environments.venv
    return frozenset()


def is_finite(model: BaseAlgorithm) -> bool:
    """Whether no parameter that is learnt, of the networks or beside them, is NaN or infinite."""
    _, variables = model._get_torch_save_params()
    learnt = (*model.policy.parameters(), *(recursive_getattr(model, name) for name in variables))
    return all(bool(torch.isfinite(p).all()) for p in learnt)


def _require_drawable(spec: AlgorithmSpec, arguments: dict[str, Any]) -> None:
    """Raises Failed where actions are to be drawn from a distribution that the exported network cannot tell."""
    if spec.acting == "Deterministic":
        return
    if why := api.ALGORITHMS[spec.name].undrawable:
        message = f"spec.algorithm.acting: {why}; set Deterministic"
        raise Failed("AlgorithmMisfit", message, permanent=True)
    if arguments.get("use_sde"):
        why = "with it the spread depends on the state, and spec.algorithm.acting Stochastic needs one that does not"
        raise hyperparameters.invalid("use_sde", f"{why}; set false")


def _construct(
    algorithm: Algorithm, spec: AlgorithmSpec, environments: VecEnv, seed: int, arguments: dict[str, Any]
) -> BaseAlgorithm:
    kind, extracted = policy_of(environments.observation_space, masked=api.ALGORITHMS[spec.name].masked)
    actions = environments.action_space.shape or ()
    shaping = {name: arguments[name] for name in algorithm.network_arguments if name in arguments}
    learning = {name: value for name, value in arguments.items() if name not in shaping}
    return algorithm.library(
        algorithm.policies.format(kind),
        environments,
        seed=initial_seed(seed),
        device=algorithm.device,
        policy_kwargs={
            "net_arch": list(spec.network.hidden),
            "activation_fn": ACTIVATIONS[spec.network.activation],
            **extracted,
            **shaping,
        },
        **with_noise(learning, actions),
    )


def _environments(task: TrainingTask, gamma: float) -> VecEnv:
    """The copies, in this process (subprocesses would go here), with running normalisation if asked for."""
    masked = api.ALGORITHMS[task.spec.algorithm.name].masked
    make: Callable[[], gymnasium.Env[Any, Any]] = partial(_copy, task.environment, masked=masked)
    normalize = task.spec.algorithm.normalize
    try:
        _check_interface(task)
        environments: VecEnv = DummyVecEnv([make] * task.spec.environments)
    except EnvironmentFault as fault:
        raise Failed(fault.reason, str(fault), permanent=True) from fault
    return _normalized(_transposed(environments, normalize), normalize, gamma)


def _transposed(environments: VecEnv, normalize: Normalize) -> VecEnv:
    """With the channels of images first, as torch wants them.

    Below the normalisation: the library, which would do it above, could not store what it keeps unnormalised. An image
    that is normalised itself is none any more, for the library.
    """
    if normalize.observation and not isinstance(environments.observation_space, spaces.Dict):
        return environments
    try:
        return BaseAlgorithm._wrap_env(environments, verbose=0)
    except AssertionError as error:
        message = f"spec.environmentRef: {describe(error)}; give all images of the Dict the same order of dimensions"
        raise Failed("AlgorithmMisfit", message, permanent=True) from error


def _normalized(environments: VecEnv, normalize: Normalize, gamma: float) -> VecEnv:
    """With running normalisation, if asked for. Raises Failed where the observation has nothing to normalise."""
    if not normalize.observation and not normalize.reward:
        return environments
    space = environments.observation_space
    members = scaled_members(space) if isinstance(space, spaces.Dict) else None
    if normalize.observation and not members and not isinstance(space, spaces.Box):
        message = (
            "spec.algorithm.normalize.observation: the observation space has no numbers to scale (images have a scale "
            "already); set false"
        )
        raise Failed("InvalidHyperparameters", message, permanent=True)
    return VecNormalize(
        environments,
        norm_obs=normalize.observation,
        norm_reward=normalize.reward,
        gamma=gamma,
        norm_obs_keys=members if normalize.observation else None,
    )


def _copy(spec: RLEnvironmentSpec, *, masked: bool) -> gymnasium.Env[Any, Any]:
    # Returns are told as the environment pays them: what shapes rewards stands outside Monitor.
    made = Cut(in_training(Monitor(make_for_learning(spec)), spec.wrappers))
    if not masked:
        return made
    if not has_mask(made.observation_space):
        message = f"spec.wrappers: they take {ACTION_MASK}, which MaskablePPO needs, out of sight; leave flatten out"
        raise EnvironmentFault("InvalidWrapper", message)
    return Telling(made)


def _check_interface(task: TrainingTask) -> None:
    """The image may have changed since the probe."""
    env = make_environment(task.environment)
    found = interface(env, task.environment.wrappers)
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


def _forget(remembered: Any) -> None:
    """What recurrent networks, actor's and critic's, carry from step to step."""
    for state in remembered or ():
        for tensor in state:
            tensor.zero_()


def _truncate_last(buffer: Any) -> None:
    if buffer is not None and buffer.size():
        last = (buffer.pos - 1) % buffer.buffer_size
        buffer.timeouts[last] = np.logical_or(buffer.timeouts[last], np.logical_not(buffer.dones[last]))
