"""gymnasium spaces as data, and back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from checkrein.api.spaces import MEMBER_PATTERN, MOST_MEMBERS, Interface, Member, Space
from checkrein.api.wrappers import Wrapper, client_digest


class UnsupportedSpaceError(ValueError):
    """A space that no policy of this release can see or act in. The text says why and what to do."""


def interface(env: gymnasium.Env[Any, Any], wrappers: Sequence[Wrapper] = ()) -> Interface:
    """Both spaces of the environment as the wrappers at Client show it. Raises UnsupportedSpaceError."""
    return Interface(
        observation=describe(env.observation_space, "observation"),
        action=describe(env.action_space, "action"),
        client_wrappers=client_digest(wrappers),
    )


def describe(space: spaces.Space[Any], role: str) -> Space:
    """The space as data; `role` (`observation`, `action`) is for the error's text. Raises UnsupportedSpaceError."""
    match space:
        case spaces.Dict() if role == "observation":
            return _describe_dict(space)
        case spaces.Box():
            return _describe_box(space, role)
        case spaces.Discrete():
            return Space(type="Discrete", dtype=str(space.dtype), n=int(space.n), start=int(space.start))
        case spaces.MultiDiscrete(nvec=nvec) if nvec.ndim == 1 and not space.start.any():
            return Space(type="MultiDiscrete", dtype=str(space.dtype), nvec=[int(n) for n in nvec])
        case spaces.MultiBinary():
            return Space(type="MultiBinary", dtype=str(space.dtype), shape=list(space.shape))
    raise UnsupportedSpaceError(
        f"{role} space {type(space).__name__} is not supported; use Box, Discrete, MultiBinary or a flat MultiDiscrete "
        "that starts at 0, or for observations a Dict of them (gymnasium.wrappers.FlattenObservation turns a Tuple or "
        "a deeper Dict into a Box)"
    )


def build(space: Space) -> spaces.Space[Any]:
    """The gymnasium space that the data describe."""
    if space.type == "Dict":
        return spaces.Dict({name: build(leaf) for name, leaf in space.leaves.items()})
    dtype = np.dtype(space.dtype)
    match space.type:
        case "Box":
            return spaces.Box(
                _fill(space.low, space.shape, dtype), _fill(space.high, space.shape, dtype), dtype=dtype.type
            )
        case "Discrete":
            return spaces.Discrete(space.n or 1, start=space.start or 0)
        case "MultiDiscrete":
            return spaces.MultiDiscrete(space.nvec, dtype=dtype.type)
        case _:
            return spaces.MultiBinary(space.shape[0] if len(space.shape) == 1 else space.shape)


def _describe_dict(space: spaces.Dict) -> Space:
    """Members in the keys' order: a mapping in JSON has none of its own."""
    if not 0 < len(space) <= MOST_MEMBERS:
        raise UnsupportedSpaceError(f"observation space Dict has {len(space)} members; it may have 1 to {MOST_MEMBERS}")
    return Space(type="Dict", members=[_describe_member(name, space[name]) for name in sorted(space, key=str)])


def _describe_member(name: Any, space: spaces.Space[Any]) -> Member:
    if not isinstance(name, str) or len(name) > 63 or not re.fullmatch(MEMBER_PATTERN, name):
        raise UnsupportedSpaceError(
            f"observation space Dict has a member {name!r:.80}; names are 1 to 63 letters, digits, _ and -"
        )
    leaf = describe(space, f"observation.{name}")
    return Member.model_validate({"name": name, **leaf.dump()})


def _describe_box(space: spaces.Box, role: str) -> Space:
    if role == "action" and not (np.issubdtype(space.dtype, np.floating) and space.is_bounded()):
        raise UnsupportedSpaceError(
            f"action space {space} must be of floating-point numbers with finite bounds; "
            "declare them in the environment (gymnasium.wrappers.RescaleAction maps them to others)"
        )
    return Space(
        type="Box", dtype=str(space.dtype), shape=list(space.shape), low=_bounds(space.low), high=_bounds(space.high)
    )


def _bounds(values: np.ndarray[Any, Any]) -> list[str]:
    """Shortest texts that read back as the same numbers; one where all agree."""
    texts = [str(v) for v in values.ravel()]
    return texts[:1] if len(set(texts)) == 1 else texts


def _fill(texts: list[str], shape: list[int], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    values = np.array([dtype.type(t) for t in texts], dtype=dtype)
    return np.broadcast_to(values.reshape(shape if len(texts) > 1 else ()), shape).copy()
