"""How far two actions of one space lie apart, and the numbers by which an observation is told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from checkrein.api.spaces import Space
from checkrein.shield.arrays import Array, Observation, bounds

ALIKE = 0.01
"""Elements of a Box action that lie apart by up to this share of their range count as the same."""
ELEMENTS = 1024
"""The first so many elements of an observation are looked at."""


class Distance:
    """Of actions of one space, as a share of it: 0 for the same, at most 1.

    Discrete: 0 or 1. MultiDiscrete, MultiBinary: the share of elements that differ. Box: the mean over the elements of
    the absolute difference by the range, of an element without bounds d / (1 + d).
    """

    def __init__(self, space: Space) -> None:
        self._box = space.type == "Box"
        with np.errstate(over="ignore"):
            low, high = (bound.ravel().astype(np.float64) for bound in bounds(space))
            self._range = high - low

    def __call__(self, one: Array, other: Array) -> tuple[bool, float]:
        """Whether they count as the same action, and how far they lie apart."""
        a, b = one.ravel().astype(np.float64), other.ravel().astype(np.float64)
        if not self._box:
            apart = a != b
        else:
            difference = np.abs(a - b)
            with np.errstate(invalid="ignore", divide="ignore"):
                share = np.where(np.isfinite(self._range), difference / self._range, difference / (1 + difference))
            apart = np.where(difference == 0, 0.0, np.minimum(share, 1.0))
        return not bool((apart > (ALIKE if self._box else 0)).any()), float(apart.mean()) if apart.size else 0.0


def flat(observation: Observation) -> Array:
    """Its first elements in C order, a Dict's member by member."""
    if isinstance(observation, dict):
        parts = [array.ravel()[:ELEMENTS] for array in observation.values()]
        return np.concatenate([part.astype(np.float64) for part in parts])[:ELEMENTS]
    return observation.ravel()[:ELEMENTS].astype(np.float64)


def names(space: Space, features: Sequence[str]) -> list[str]:
    """What the elements that `flat` gives are called: as safety.features does, else `observation[2]`."""
    if len(features) == space.size:
        return [name[:64] for name in features[:ELEMENTS]]
    places = [
        f"{f'observation.{name}' if name else 'observation'}{f'[{i}]' if leaf.type != 'Discrete' else ''}"
        for name, leaf in space.leaves.items()
        for i in range(min(leaf.size, ELEMENTS))
    ]
    return [place[-64:] for place in places[:ELEMENTS]]
