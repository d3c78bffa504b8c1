"""A lower confidence bound for a sum of importance-weighted means, right whenever one looks.

Weights are ratios of probabilities: at least 0, mean one, and without a useful upper bound. So a mean is only ever
bounded from below, where a non-negative number needs no upper bound to be bet on; the upper bound of a mean v of [0,
1] is the lower bound of 1 - v (Karampatziakis, Mineiro, Ramdas, "Off-policy confidence sequences", ICML 2021;
Waudby-Smith, Wu, Ramdas, Karampatziakis, Mineiro, "Anytime-valid off-policy inference for contextual bandits", 2022).
What is unknown of an episode counts as the least it could be.

Doubly robust: from each episode the sum of (w_t - w_(t-1)) h_t is taken, where w_t is the weight of its steps up to t
and h_t a guess at its outcome before the t-th action. It has mean zero whatever the guesses are worth, and cancels
noise where they are good (Jiang, Li, 2016; Thomas, Brunskill, 2016). It takes the sum below zero: guesses are cut, by
what is known before the action, so that it stays above -k (the lower-bound trick of Waudby-Smith et al., section 2).
A small k allows large bets and a large k good guesses; the wealths of several are averaged, plain weighting (k = 0)
among them, and by Ville's inequality their average ever reaches 1/alpha with probability at most alpha.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from checkrein.judge.bounded_mean import FRACTIONS

Floats = NDArray[np.float64]
_HALVINGS = 18  # from below, to 4e-6 of the range: an error on the side of caution
_CUTS = (1 / 16, 1 / 4, 1.0)  # of the k at which no guess would be cut in the first step


@dataclass(frozen=True)
class Side:
    """One mean of the sum, over n episodes of at most T steps (shorter ones are filled up with ratios of one).

    `ratios`: (n, T), of an action's probabilities under the policy in question and under the one that acted.
    `outcome`: (n,), what is averaged, in [0, 1]. `guesses`: one array (n, T) in [0, 1] for each way to guess, each a
    function of what was known before the action. `floor`: the least probability that the acting policy may have given
    to an action which the policy in question takes; None where nobody knows, and then nothing is guessed.
    `scale`: how much of the mean is in the sum.
    """

    ratios: Floats
    outcome: Floats
    guesses: tuple[Floats, ...]
    floor: float | None
    scale: float = 1.0


def weights(ratios: Floats) -> Floats:
    """Of whole episodes: (n,)."""
    product: Floats = ratios.prod(axis=1)
    return product


def robust(side: Side, way: int, cut: float = math.inf) -> Floats:
    """Doubly robust values of the episodes, (n,), at least -cut; their mean is that of weight times outcome."""
    reached = np.cumprod(side.ratios, axis=1)
    before = np.hstack((np.ones((len(reached), 1)), reached[:, :-1]))
    guesses = np.minimum(side.guesses[way], _limits(side, before, cut))
    values: Floats = reached[:, -1] * side.outcome - ((reached - before) * guesses).sum(axis=1)
    return values


def _limits(side: Side, before: Floats, cut: float) -> Floats | float:
    """What a guess may be at most, by what is known before the action, so that all steps take `cut` at most."""
    if math.isinf(cut):
        return cut
    assert side.floor is not None, "nothing is guessed without a floor"
    rise = before * (1 / side.floor - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        limits: Floats = np.where(rise > 0, cut / (before.shape[1] * rise), 1.0)
    return limits


def lower_bound(sides: Sequence[Side], unknown: int, alpha: float) -> float:
    """With probability at least 1 - alpha the sum of the sides' means is no lower, at however many episodes one
    looks.

    `unknown` episodes are counted beside those of the sides, each as the least that it could be. Each episode's
    ratios have mean one given those before it. At least 0, at most the sum of the scales.
    """
    bets = _bets(sides)
    below, above = 0.0, sum(side.scale for side in sides)
    if _log_wealth(bets, above, unknown) >= -math.log(alpha):
        return above
    for _ in range(_HALVINGS):  # wealth falls as the mean grows
        middle = (below + above) / 2
        if _log_wealth(bets, middle, unknown) >= -math.log(alpha):
            below = middle
        else:
            above = middle
    return below


@dataclass(frozen=True)
class _Bet:
    """Values that are at least -cut, and the share of the wealth that is bet on them."""

    values: Floats
    counts: NDArray[np.int64]
    cut: float
    share: float

    @classmethod
    def on(cls, values: Floats, cut: float, share: float) -> _Bet:
        """Equal values are counted: in bandits there are few different ones."""
        distinct, counts = np.unique(values, return_counts=True)
        return cls(distinct, counts, cut, share)


def _bets(sides: Sequence[Side]) -> list[_Bet]:
    plain = sum((s.scale * weights(s.ratios) * s.outcome for s in sides), np.zeros(len(sides[0].outcome)))
    if any(side.floor is None for side in sides):
        return [_Bet.on(plain, 0.0, 1.0)]
    ways = range(len(sides[0].guesses))
    guessed = [_guessed(sides, way, share) for way in ways for share in _CUTS]
    return [_Bet.on(plain, 0.0, 0.5), *(_Bet.on(values, cut, 0.5 / len(guessed)) for values, cut in guessed)]


def _guessed(sides: Sequence[Side], way: int, share: float) -> tuple[Floats, float]:
    values, cuts = np.zeros(len(sides[0].outcome)), 0.0
    for side in sides:
        assert side.floor is not None, "bets on guesses are made where there is a floor"
        cut = share * (1 / side.floor - 1)
        values = values + side.scale * robust(side, way, cut)
        cuts += side.scale * cut
    return values, cuts


def _log_wealth(bets: Sequence[_Bet], mean: float, unknown: int) -> float:
    """Of the mixture against "the mean is at most `mean`"; the largest admissible bet is 1/(cut + mean)."""
    logs = [_log_each(bet, mean, unknown) + math.log(bet.share / len(FRACTIONS)) for bet in bets]
    return float(np.logaddexp.reduce(np.concatenate(logs)))


def _log_each(bet: _Bet, mean: float, unknown: int) -> Floats:
    excess = (bet.values - mean) / (bet.cut + mean)
    # One fraction after the other: all at once would take nine times the memory.
    told = [float(np.log1p(np.maximum(fraction * excess, -fraction)) @ bet.counts) for fraction in FRACTIONS]
    logs: Floats = np.array(told) + unknown * np.log1p(-FRACTIONS)
    return logs
