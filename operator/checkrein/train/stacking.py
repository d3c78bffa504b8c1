"""The wrappers at Policy as a part of the exported graph: what the caller sends becomes what the network learnt to see.

A stack is the graph's state: input `state.0` holds the observations before this one side by side, oldest first,
[batch, ...] float32 (flattened before if `flatten` says so; zeros at an episode's start); output `next_state.0` is what
the next step gets. `checkrein.wrappers.layers` does the same around the environment in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional

from checkrein.api.spaces import Space
from checkrein.api.wrappers import Wrapper
from checkrein.train.observations import stacked
from checkrein.wrappers.layers import stack_axis
from checkrein.wrappers.spaces import build

STATE = "state.0"

Array = np.ndarray[Any, Any]


class Layers(nn.Module):
    """First part of a graph. `names` are the members that it gives; the empty name for a single array."""

    def __init__(self, observation: Space, wrappers: Sequence[Wrapper]) -> None:
        super().__init__()
        self.leaves = observation.leaves
        self.flatten = any(wrapper.flatten is not None for wrapper in wrappers)
        self.frames = frames_of(wrappers)
        self.names = [""] if self.flatten else list(self.leaves)
        self.axis = 1 if self.flatten or self.frames == 1 else 1 + stack_axis(build(observation))

    def zeros(self, observation: Space, batch: int) -> list[Tensor]:
        """State at an episode's start; nothing where nothing is stacked."""
        if self.frames == 1:
            return []
        shape = [sum(map(flat_width, self.leaves.values()))] if self.flatten else list(observation.shape)
        shape[self.axis - 1] *= self.frames - 1
        return [torch.zeros(batch, *shape)]

    def forward(self, *inputs: Tensor) -> tuple[list[Tensor], list[Tensor], tuple[Tensor, ...]]:
        """From the observation's parts, then states: the parts as learnt, from 0; the next stack; other states."""
        parts = [_from_zero(leaf, part) for leaf, part in zip(self.leaves.values(), inputs, strict=False)]
        states = inputs[len(self.leaves) :]
        if self.flatten:
            flat = [_flat(leaf, part) for leaf, part in zip(self.leaves.values(), parts, strict=True)]
            parts = [torch.cat(flat, dim=1)]
        if self.frames == 1:
            return parts, [], states
        whole = torch.cat([states[0], parts[0].float()], dim=self.axis)
        width = parts[0].shape[self.axis]
        return [whole], [whole.narrow(self.axis, width, width * (self.frames - 1))], states[1:]


def frames_of(wrappers: Sequence[Wrapper]) -> int:
    """How many observations the network sees at once."""
    return next((wrapper.stack.frames for wrapper in wrappers if wrapper.stack is not None), 1)


def as_learnt(space: Space, wrappers: Sequence[Wrapper], observations: list[Any]) -> tuple[Any, dict[str, Array]]:
    """A batch for the library's policy, and the state beside which the graph must see the same.

    Of a stack, those before an observation in the list stand for those before it in an episode; the list is a ring.
    Made by gymnasium and numpy alone, so that the graph is held against something else than itself.
    """
    if any(wrapper.flatten is not None for wrapper in wrappers):
        whole = build(space)
        newest: Any = np.stack([np.asarray(spaces.flatten(whole, observation)) for observation in observations])
    else:
        newest = stacked(space, observations)
    if (frames := frames_of(wrappers)) == 1:
        return newest, {}
    axis = 1 if newest.ndim == 2 else 1 + stack_axis(build(space))
    ages = [np.roll(newest, age, axis=0) for age in range(frames - 1, -1, -1)]
    return np.concatenate(ages, axis=axis), {STATE: np.concatenate(ages[:-1], axis=axis).astype(np.float32)}


def flat_width(space: Space) -> int:
    """Numbers that one value becomes when it is flattened."""
    return {"Discrete": space.n or 1, "MultiDiscrete": sum(space.nvec)}.get(space.type, space.size)


def _from_zero(space: Space, value: Tensor) -> Tensor:
    return value - space.start if space.start else value


def _flat(space: Space, value: Tensor) -> Tensor:
    if space.type == "Discrete":
        return functional.one_hot(value.long(), space.n or 1).float()
    if space.type == "MultiDiscrete":
        hot = [functional.one_hot(value[:, i].long(), n).float() for i, n in enumerate(space.nvec)]
        return torch.cat(hot, dim=1)
    return value.reshape(-1, space.size).float()
