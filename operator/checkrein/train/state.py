"""What a checkpoint holds of a learning algorithm, as files without pickle.

network.pt          parameters and optimisers (torch.save, read with weights_only)
state.json          counters and the latest episodes' returns
normalization.npz   running statistics, where there are any
replay.npz          the filled part of the replay buffer, where there is one
No generator's state: at a checkpoint all of them are seeded anew (`model.start_over`).
"""

from __future__ import annotations

import io
import json
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.save_util import recursive_getattr

from checkrein.train.algorithms import Algorithm
from checkrein.train.model import observation_statistics

NETWORK, STATE, NORMALIZATION, REPLAY = "network.pt", "state.json", "normalization.npz", "replay.npz"
COUNTERS = ("num_timesteps", "_n_updates", "_episode_num", "_current_progress_remaining")
REPLAYED = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")

Files = dict[str, bytes]


def capture(model: BaseAlgorithm, algorithm: Algorithm) -> Files:
    """The algorithm's state now, as bytes that share nothing with it."""
    buffer = getattr(model, "replay_buffer", None)
    state: dict[str, Any] = {name: getattr(model, name) for name in COUNTERS + algorithm.counters}
    state["episodes"] = list(model.ep_info_buffer or ())
    files = {NETWORK: _tensors(model)}
    if statistics := dict(_statistics(model)):
        files[NORMALIZATION] = _arrays({f"{n}.{k}": v for n, s in statistics.items() for k, v in _moments(s).items()})
    if buffer is not None:
        state["replay"] = {"pos": buffer.pos, "full": buffer.full}
        files[REPLAY] = _arrays({name: array[: buffer.size()] for name, array in _replayed(buffer).items()})
    files[STATE] = json.dumps(state).encode()
    return files


def restore(model: BaseAlgorithm, algorithm: Algorithm, files: Mapping[str, bytes]) -> None:
    """Bring a freshly built algorithm to the captured state. Raises KeyError, ValueError, RuntimeError on a misfit."""
    state = json.loads(files[STATE])
    _load_tensors(model, files[NETWORK])
    for name in COUNTERS + algorithm.counters:
        setattr(model, name, state[name])
    model.ep_info_buffer = deque(state["episodes"], maxlen=model._stats_window_size)
    model.ep_success_buffer = deque(maxlen=model._stats_window_size)
    if statistics := dict(_statistics(model)):
        arrays = _load_arrays(files[NORMALIZATION])
        for name, target in statistics.items():
            target.mean, target.var = arrays[f"{name}.mean"], arrays[f"{name}.var"]
            target.count = float(arrays[f"{name}.count"])
    buffer = getattr(model, "replay_buffer", None)
    if buffer is not None:
        buffer.pos, buffer.full = state["replay"]["pos"], state["replay"]["full"]
        arrays, saved = _replayed(buffer), _load_arrays(files[REPLAY])
        for name in arrays:
            arrays[name][: len(saved[name])] = saved[name]


def _tensors(model: BaseAlgorithm) -> bytes:
    """By the library's own list of what belongs to torch."""
    modules, variables = model._get_torch_save_params()
    content = {
        "modules": {name: recursive_getattr(model, name).state_dict() for name in modules},
        "variables": {name: recursive_getattr(model, name).detach() for name in variables},
    }
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def _load_tensors(model: BaseAlgorithm, data: bytes) -> None:
    content = torch.load(io.BytesIO(data), map_location=model.device, weights_only=True)
    model.set_parameters(content["modules"])
    for name, value in content["variables"].items():
        recursive_getattr(model, name).data.copy_(value)


def _statistics(model: BaseAlgorithm) -> Iterator[tuple[str, RunningMeanStd]]:
    normalizer = model.get_vec_normalize_env()
    if normalizer is not None:
        yield "return", normalizer.ret_rms
    for member, statistics in observation_statistics(model).items():
        yield (f"observation.{member}" if member else "observation"), statistics


def _replayed(buffer: Any) -> dict[str, np.ndarray[Any, Any]]:
    """The replay buffer's own arrays by name; of a Dict's observations one for each member."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name in REPLAYED:
        array = getattr(buffer, name)
        arrays |= {f"{name}.{key}": a for key, a in array.items()} if isinstance(array, dict) else {name: array}
    return arrays


def _moments(statistics: RunningMeanStd) -> dict[str, Any]:
    return {"mean": statistics.mean, "var": statistics.var, "count": statistics.count}


def _arrays(arrays: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _load_arrays(data: bytes) -> dict[str, np.ndarray[Any, Any]]:
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return dict(archive)
