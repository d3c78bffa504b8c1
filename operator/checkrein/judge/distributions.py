"""Distributions over actions: choosing by uniform numbers that are given, and how probable the choice was.

Softmax and mixtures after Sutton and Barto, "Reinforcement Learning", 2nd edition, 2018, sections 2.2 and 2.8; Box and
Muller, "A note on the generation of random normal deviates", 1958. Off-policy estimates divide by a propensity
(Horvitz and Thompson, 1952), so choices are read off the very numbers that are reported. All in float64.

Discrete, MultiDiscrete and MultiBinary are alike: a distribution is made by `softmax` or `point`, then picked from or
asked for a probability. Actions are flat arrays of indices from 0 (Discrete: of shape ()). Uniforms are in [0, 1).
Scores are what networks give before normalisation; one of -inf masks its action. Softmax raises ValueError where there
is nothing to choose by: the wrong number of scores, NaN, +inf, or every action masked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]
_LOG_ROOT_TAU = 0.5 * math.log(2 * math.pi)


def softmax(scores: Array, temperature: float = 1.0) -> Floats:
    """Probabilities proportional to exp(score / temperature), of a flat array."""
    exact = scores.astype(np.float64)
    top = float(exact.max())
    if not math.isfinite(top):  # NaN where there is one
        raise ValueError(f"scores must be below infinity, and at least one of them finite; the greatest is {top}")
    weights: Floats = np.exp((exact - top) / temperature)  # the greatest weighs 1: nothing overflows
    weights /= weights.sum()
    return weights


def sigmoid(scores: Array, temperature: float = 1.0) -> Floats:
    """Softmax over each score and zero: the probability of one."""
    exact = scores.astype(np.float64)
    if not (exact < np.inf).all():
        raise ValueError("scores must be numbers below infinity")
    tail: Floats = np.exp(-np.abs(exact / temperature))
    return np.where(exact >= 0, 1.0, tail) / (1 + tail)


def pick(probabilities: Floats, uniform: float) -> int:
    """The index whose share of [0, 1) holds `uniform`; never one of probability zero."""
    shares = probabilities.cumsum()
    return int(shares.searchsorted(uniform * shares[-1], side="right"))


def pick_evenly(count: int, uniform: float) -> int:
    """One of `count` indices, each as probable as the others."""
    return min(int(uniform * count), count - 1)


def mixed(probabilities: Floats, epsilon: float) -> Floats:
    """With probability epsilon any index evenly, else as given."""
    return (1 - epsilon) * probabilities + epsilon / len(probabilities)


def pushed(probabilities: Floats, onto: Array) -> Floats:
    """Probabilities of what is executed where index i ends as `onto[i]`; -1: nowhere, so the sum may be below one."""
    kept = onto >= 0
    sums: Floats = np.bincount(onto[kept], probabilities[kept], len(probabilities)).astype(np.float64, copy=False)
    return sums


class Discrete:
    """One of `n`. A distribution is an array of n probabilities."""

    uniforms = 1

    def __init__(self, n: int) -> None:
        self.n = n
        self.count = float(n)

    def softmax(self, scores: Array, temperature: float = 1.0) -> Floats:
        return softmax(_expect(scores, self.n), temperature)

    def point(self, action: Array) -> Floats:
        certain = np.zeros(self.n)
        certain[int(action)] = 1.0
        return certain

    def pick(self, distribution: Floats, uniforms: Array) -> Array:
        return np.array(pick(distribution, float(uniforms[0])))

    def evenly(self, uniforms: Array) -> Array:
        return np.array(pick_evenly(self.n, float(uniforms[0])))

    def probability(self, distribution: Floats, action: Array) -> float:
        return float(distribution[int(action)])


class MultiDiscrete:
    """One of `sizes[i]` for each element i, independently. A distribution is a list of an array for each element.

    Networks give the elements' scores one after the other.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = tuple(sizes)
        self.uniforms = len(self.sizes)
        self.count = math.prod(map(float, self.sizes))  # infinity where float64 does not hold it

    def softmax(self, scores: Array, temperature: float = 1.0) -> list[Floats]:
        ends = np.cumsum(self.sizes)
        return [softmax(part, temperature) for part in np.split(_expect(scores, int(ends[-1])), ends[:-1])]

    def point(self, action: Array) -> list[Floats]:
        return [Discrete(size).point(index) for size, index in zip(self.sizes, action, strict=True)]

    def pick(self, distribution: list[Floats], uniforms: Array) -> Array:
        pairs = zip(distribution, uniforms.tolist(), strict=True)
        return np.array([pick(probabilities, uniform) for probabilities, uniform in pairs])

    def evenly(self, uniforms: Array) -> Array:
        pairs = zip(self.sizes, uniforms.tolist(), strict=True)
        return np.array([pick_evenly(size, uniform) for size, uniform in pairs])

    def probability(self, distribution: list[Floats], action: Array) -> float:
        pairs = zip(distribution, action.tolist(), strict=True)
        return math.prod(float(probabilities[index]) for probabilities, index in pairs)


class MultiBinary:
    """Zero or one for each of `n` elements, independently. A distribution is an array of the probabilities of one."""

    def __init__(self, n: int) -> None:
        self.n = self.uniforms = n
        self.count = math.ldexp(1.0, n) if n < 1024 else math.inf

    def softmax(self, scores: Array, temperature: float = 1.0) -> Floats:
        return sigmoid(_expect(scores, self.n), temperature)

    def point(self, action: Array) -> Floats:
        return action.astype(np.float64)

    def pick(self, distribution: Floats, uniforms: Array) -> Array:
        return (uniforms < distribution).astype(np.int8)

    def evenly(self, uniforms: Array) -> Array:
        return (uniforms < 0.5).astype(np.int8)

    def probability(self, distribution: Floats, action: Array) -> float:
        return float(np.where(action != 0, distribution, 1 - distribution).prod())


def _expect(scores: Array, count: int) -> Array:
    if scores.shape != (count,):
        raise ValueError(f"there must be {count} scores, one for each value; their shape is {list(scores.shape)}")
    return scores


def normal_uniforms(count: int) -> int:
    """How many uniforms `normals` takes for `count` numbers."""
    return count + count % 2


def normals(uniforms: Array, count: int) -> Floats:
    """`count` independent standard normal numbers, by Box and Muller."""
    half = len(uniforms) // 2
    radius = np.sqrt(-2 * np.log1p(-uniforms[:half]))  # 1 - u is above zero, so this is finite
    angle = 2 * np.pi * uniforms[half : 2 * half]
    both: Floats = np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))
    return both[:count]


def normal_density(values: Array, mean: Array, std: Array) -> float | None:
    """Density of independent normal numbers at `values`, all together. None where float64 does not hold it.

    In many dimensions a density leaves the range of float64; zero or infinity would be a lie.
    """
    if not (std > 0).all():
        return None
    with np.errstate(over="ignore"):  # so far away that there is nothing
        distances = (values - mean) / std
        log_density = -float((0.5 * distances * distances + np.log(std) + _LOG_ROOT_TAU).sum())
    return math.exp(log_density) if -700 < log_density < 700 else None


def normal_action(mean: Array, std: Array, low: Array, high: Array, uniforms: Array) -> tuple[Array, float | None]:
    """A normal action in the bounds' dtype, moved into the bounds, and its density; all arrays are flat.

    The density is None where an element was moved: the bound itself has a probability then, and no density. Raises
    ValueError where the action would not be finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows lies beyond every bound
        drawn = (mean + std * normals(uniforms, len(mean))).astype(low.dtype)
    action: Array = np.clip(drawn, low, high)
    if not np.isfinite(action).all():
        raise ValueError("mean and standard deviation must be finite; an element of the action would not be")
    moved = (action != drawn).any()
    return action, None if moved else normal_density(action.astype(np.float64), mean, std)
