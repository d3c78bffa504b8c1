"""Hyperparameters, judged by the library's own signature before a step is spent."""

from __future__ import annotations

import difflib
import inspect
import json
import math
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import LinearSchedule

from checkrein.train import noise
from checkrein.train.algorithms import Algorithm
from checkrein.train.failures import Failed

FIELD = "spec.algorithm.hyperparameters"
# What the spec, or this trainer, decides; where a person finds it instead.
OWNED = {
    "policy": "spec.algorithm.network describes it",
    "env": "it is spec.environmentRef",
    "seed": "use spec.seed",
    "n_envs": "use spec.environments",
    "n_timesteps": "use spec.budget.steps",
    "normalize": "use spec.algorithm.normalize",
    "policy_kwargs": "use spec.algorithm.network",
    "verbose": "the trainer logs by itself",
    "device": "the trainer takes what the pod has",
    "tensorboard_log": "use spec.tracking.tensorboard",
    "stats_window_size": "status.progress is over 100 episodes",
    "optimize_memory_usage": "it cannot be combined with checkpoints",
    "replay_buffer_class": "it is chosen by the algorithm",
    "replay_buffer_kwargs": "it is chosen by the algorithm",
    "rollout_buffer_class": "it is chosen by the algorithm",
    "rollout_buffer_kwargs": "it is chosen by the algorithm",
    noise.LIBRARY: f"use {noise.TYPE} and {noise.STD}",
    "_init_setup_model": "the trainer sets it",
}
_AT_LEAST_ONE = (1, math.inf)
_AT_LEAST_ZERO = (0, math.inf)
_SHARE = (0, 1)
# Values that the library accepts and then cannot train with, whatever the algorithm.
RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(
        ("n_steps", "batch_size", "n_epochs", "buffer_size", "target_update_interval", "train_freq", "policy_delay"),
        _AT_LEAST_ONE,
    ),
    **dict.fromkeys(
        ("n_quantiles", "n_critics", "lstm_hidden_size", "n_lstm_layers"),
        _AT_LEAST_ONE,
    ),
    **dict.fromkeys(("gamma", "gae_lambda", "tau", "exploration_fraction"), _SHARE),
    **dict.fromkeys(("exploration_initial_eps", "exploration_final_eps"), _SHARE),
    **dict.fromkeys(("learning_rate", "clip_range", "max_grad_norm", "learning_starts"), _AT_LEAST_ZERO),
    **dict.fromkeys(("target_policy_noise", "target_noise_clip", noise.STD), _AT_LEAST_ZERO),
    "top_quantiles_to_drop_per_net": _AT_LEAST_ZERO,
}
LINEAR = "lin_"


def check(algorithm: Algorithm, given: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters as the library takes them; noise still by its names in the spec (`noise.with_noise`).

    Raises Failed (InvalidHyperparameters, permanent).
    """
    library = algorithm.library
    signature = inspect.signature(library).parameters
    known = {name: p.annotation for name, p in signature.items() if name not in OWNED}
    known |= _network_hints(algorithm)
    known |= noise.HINTS if noise.LIBRARY in signature else {}
    accepted = {name: _value(name, value, known, library.__name__) for name, value in given.items()}
    if noise.TYPE in accepted and noise.STD not in accepted:
        raise invalid(noise.STD, f"must go with {noise.TYPE}; write 0.1 for a twentieth of the actions' range")
    return accepted


def default(library: type[BaseAlgorithm], name: str) -> Any:
    """What the library takes where nothing is given."""
    return inspect.signature(library).parameters[name].default


def invalid(name: str, why: str) -> Failed:
    """The failure that names the hyperparameter."""
    return Failed("InvalidHyperparameters", f"{FIELD}.{name}: {why}", permanent=True)


def _network_hints(algorithm: Algorithm) -> dict[str, Any]:
    policy = algorithm.library.policy_aliases[algorithm.policies.format("Mlp")]
    signature = inspect.signature(policy).parameters
    return {name: signature[name].annotation for name in algorithm.network_arguments}


def _value(name: str, value: Any, known: Mapping[str, Any], library: str) -> Any:
    if name in OWNED:
        raise invalid(name, f"cannot be set here; {OWNED[name]}")
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3)
        mend = f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(known)}"
        raise invalid(name, f"{library} has no such hyperparameter; {mend}")
    parsed = _schedule(name, value) if _takes_schedule(known[name]) and isinstance(value, str) else None
    if parsed is None:
        parsed = _typed(name, value, known[name])
        _in_range(name, parsed)
    return parsed


def _takes_schedule(hint: Any) -> bool:
    return "Callable[[float], float]" in str(hint)


def _schedule(name: str, text: str) -> LinearSchedule:
    """RL Baselines3 Zoo's notation: `lin_0.001` falls from 0.001 to 0 over the budget."""
    try:
        start = float(text.removeprefix(LINEAR)) if text.startswith(LINEAR) else math.nan
    except ValueError:
        start = math.nan
    if not 0 <= start < math.inf:
        raise invalid(
            name, f"{text!r} is neither a number nor a schedule; write 0.001, or lin_0.001 to let it fall to 0"
        )
    return LinearSchedule(start, 0.0, 1.0)


def _typed(name: str, value: Any, hint: Any) -> Any:
    adapter: TypeAdapter[Any] = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    try:
        return adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        expected = str(hint).replace("collections.abc.", "").replace("typing.", "")
        expected = getattr(hint, "__name__", expected) if isinstance(hint, type) else expected
        raise invalid(name, f"{json.dumps(value)} does not fit; the library takes {expected}") from error


def _in_range(name: str, value: Any) -> None:
    low, high = RANGES.get(name, (-math.inf, math.inf))
    if isinstance(value, int | float) and not low <= value <= high:
        limit = f"between {low} and {high}" if high < math.inf else f"at least {low}"
        raise invalid(name, f"{value} is out of range; it must be {limit}")
