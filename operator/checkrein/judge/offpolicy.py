"""What a candidate's mean return would have been, from episodes that another policy played: an estimate, or why not.

Refusal is the default. A policy that never explores shows nothing of another one's actions, and weights multiply with
every step: at epsilon 0.1 and 50 steps full agreement leaves 7.7 % of the sample, 5 % of disagreement 1e-15 of it. It
answers on bandits and horizons up to five steps with logged exploration. Intervals are those of `importance`; they
need episodes whose weights have mean one given the past, so they hold where episodes do not depend on each other
through what the policies do (unit Episode).

Both policies are judged as they act without exploring: else a stable policy that pays for exploration would make its
own copy look superior. Stable's own action is known where it did not explore, or where the executed action had more
than half of the probability. Where nothing was ever explored, stable is judged as it acted, by chance too.

Not here: fitted Q evaluation. It is a point estimate without a claim of coverage, and needs full observations.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from checkrein.judge.importance import Floats, Side, lower_bound, robust, weights

Booleans = NDArray[np.bool_]
HORIZON = 5
"""Steps of the longest episode that is still answered for."""
LEAST_EFFECTIVE = 30.0
"""Effective sample size (Kish, 1965) without which the point estimates say nothing."""
LEAST_WHOLE = 0.95
"""Share of the episodes that must be whole in the log. The others count as the least that they could be."""
_CERTAIN = 1 - 1e-9
_FEW = 16  # distinct propensities of a log that come from a setting (epsilon / n), not from a network's scores
_DIGITS = 12
_STANDARD_ERRORS = 4.0  # by which the mean weight may miss one


@dataclass(frozen=True, slots=True)
class Step:
    """One decision. `propensity`: the probability with which its executed action was chosen; None: it has none.

    `candidate`: the probability of that action under the candidate on the same observation; 0 or 1 where it is
    certain of its action, None where it is not known. `explored`: a deliberate deviation. `value`: what is expected
    of the rest of the episode from here on, before the action, in the reward's unit; the better, the narrower the
    interval.
    """

    propensity: float | None
    candidate: float | None
    reward: float = 0.0
    explored: bool = False
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode that the logging policy played. `began` and `ended` are seconds on one clock.

    `worst`: it was cut off, so that its return counts as the least there is. `missing`: what the log lacks of it, in
    a few words; empty where it is whole.
    """

    steps: tuple[Step, ...]
    began: float = 0.0
    ended: float = 0.0
    worst: bool = False
    missing: str = ""


@dataclass(frozen=True)
class Estimate:
    """Means of the return, in its unit. `refused` says why there is none; the counts are there all the same.

    `candidate` and `stable` are doubly robust; `inverse` (inverse propensity) and `normalised` (self-normalised, for
    display) are the candidate's as well. `of_candidate` is the interval of the candidate's mean, `difference` that of
    candidate minus (factor times) stable; each holds with the confidence asked for, whenever one looks.
    """

    refused: str = ""
    episodes: int = 0
    effective: float = 0.0
    horizon: int = 0
    unknown: int = 0
    agreement: float | None = None
    candidate: float | None = None
    stable: float | None = None
    inverse: float | None = None
    normalised: float | None = None
    of_candidate: tuple[float, float] | None = None
    difference: tuple[float, float] | None = None


def estimate(episodes: Sequence[Episode], low: float, high: float, alpha: float, *, factor: float = 1.0) -> Estimate:
    """From all episodes since some moment, in any order. Returns outside [low, high] are clipped, NaN is the least.

    `factor` is stable's in the difference: candidate minus factor times stable, so that a margin that is a share of
    stable's mean can be asked for without taking an estimate of that mean for the truth.

    Raises ValueError on bounds or an alpha that mean nothing.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"bounds must be finite and low below high, got [{low}, {high}]")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be above 0 and below 1, got {alpha}")
    if not 0 < factor < math.inf:
        raise ValueError(f"factor must be above 0, got {factor}")
    ordered = sorted(episodes, key=lambda episode: episode.began)
    whole = [e for e in ordered if not _lacks(e)]
    told = Estimate(
        episodes=len(ordered),
        horizon=max((len(e.steps) for e in ordered), default=0),
        unknown=len(ordered) - len(whole),
    )
    if why := _refused_as_logged(ordered, whole):
        return replace(told, refused=why)
    sample = _Sample(whole, low, high)
    told = replace(told, effective=sample.effective, agreement=sample.agreement)
    if why := sample.refused():
        return replace(told, refused=why)
    return sample.judged(told, alpha / 2, factor)


def _lacks(episode: Episode) -> str:
    """What an episode lacks to be counted."""
    if episode.missing:
        return episode.missing
    if not episode.steps:
        return "no decision"
    if any(step.propensity is None for step in episode.steps):
        return "a propensity"
    if any(step.candidate is None for step in episode.steps):
        return "the candidate's action"
    if any(_is_sure(step) and step.candidate == 0 for step in episode.steps):
        return "a chance of what the candidate would have done"
    return ""


def _is_sure(step: Step) -> bool:
    return step.propensity is not None and step.propensity >= _CERTAIN


def _refused_as_logged(ordered: Sequence[Episode], whole: Sequence[Episode]) -> str:
    """What the log itself rules out, before anything is computed."""
    if not ordered:
        return "there are no episodes of stable in the log"
    if (longest := max(len(e.steps) for e in ordered)) > HORIZON:
        return (
            f"episodes have up to {longest} steps: weights multiply with every step, and beyond {HORIZON} too little "
            "of any sample is left"
        )
    steps = [step for e in ordered for step in e.steps if step.propensity is not None]
    if not all(0 < (step.propensity or 0) <= 1 for step in steps):
        return "propensities are no probabilities: in a continuous space no other policy takes the very same action"
    if steps and all(map(_is_sure, steps)):
        return "stable never explored: its log shows nothing of what another policy would have done"
    if len(whole) < LEAST_WHOLE * len(ordered):
        lacks = Counter(what for e in ordered if (what := _lacks(e)))
        named = ", ".join(f"{what} ({count})" for what, count in lacks.most_common(4))
        return f"{len(ordered) - len(whole)} of {len(ordered)} episodes are not whole in the log; they lack: {named}"
    return ""


class _Sample:
    """The whole episodes as arrays: n episodes, T steps in the longest. Returns are scaled to [0, 1]."""

    def __init__(self, whole: Sequence[Episode], low: float, high: float) -> None:
        self._low, self._range = low, high - low
        self._episodes = whole
        n, steps = len(whole), max(len(e.steps) for e in whole)
        self._propensities, self._candidate = np.ones((n, steps)), np.ones((n, steps))
        self._explored = np.zeros((n, steps), dtype=bool)
        self._there = np.zeros((n, steps), dtype=bool)
        for i, episode in enumerate(whole):
            for t, step in enumerate(episode.steps):
                self._propensities[i, t] = step.propensity or 0
                self._candidate[i, t] = step.candidate or 0
                self._explored[i, t] = step.explored
                self._there[i, t] = True
        self._returns = np.array([self._scaled(low if e.worst else sum(s.reward for s in e.steps)) for e in whole])
        self._ratios = self._candidate / self._propensities
        self._weights = weights(self._ratios)
        squares = float((self._weights**2).sum())
        self.effective = float(self._weights.sum()) ** 2 / squares if squares else 0.0
        self.agreement = float(self._candidate[self._there].mean())

    def refused(self) -> str:
        """What the numbers rule out."""
        if self.effective < LEAST_EFFECTIVE:
            return (
                f"the effective sample size is {self.effective:.1f} of {len(self._weights)} episodes, and less than "
                f"{LEAST_EFFECTIVE:g} says nothing: stable and the candidate too rarely do the same"
            )
        if not self._is_told_apart():
            return "exploration hides which actions are stable's own: explore less, so that most of them are"
        for whose, ratios in (("the candidate's", self._ratios), ("stable's", self._own())):
            if why := _misses_one(weights(ratios)):
                return f"{whose} {why}"
        return ""

    def _is_told_apart(self) -> bool:
        """Whether no improbable action could be stable's own and flagged as explored all the same."""
        improbable = self._there & (self._propensities <= 0.5)
        own, explored = (self._propensities[improbable & which] for which in (~self._explored, self._explored))
        return not np.isin(own.round(_DIGITS), explored.round(_DIGITS)).any()

    def _own(self) -> Floats:
        """Ratios of stable as it acts without exploring: (n, T)."""
        if not self._explored.any():
            return np.ones_like(self._propensities)
        own = ~self._explored | (self._propensities > 0.5)
        ratios: Floats = np.where(self._there, own / self._propensities, 1.0)
        return ratios

    def judged(self, told: Estimate, alpha: float, factor: float) -> Estimate:
        """The estimate; each side of an interval errs with alpha at most."""
        own, guesses = self._own(), self._guesses()
        candidate, candidate_short = self._sides(self._ratios, guesses, self._floor(self._ratios, self._there))
        # Whatever the candidate does may be the least probable; stable's own actions are the probable ones.
        stable, stable_short = self._sides(own, guesses, self._floor(own, own > 0))
        way = len(guesses) - 1  # the best informed one

        def bound(*sides: Side) -> float:
            return lower_bound(sides, told.unknown, alpha)

        product = self._weights * self._returns
        of_candidate = (bound(candidate), 1 - bound(candidate_short))
        subtracted, added = replace(stable_short, scale=factor), replace(stable, scale=factor)
        difference = (bound(candidate, subtracted) - factor, 1 - bound(added, candidate_short))
        shift = self._low * (1 - factor)
        return replace(
            told,
            candidate=self._point(robust(candidate, way)),
            stable=self._point(robust(stable, way)),
            inverse=self._point(product),
            normalised=self._unscaled(float(product.sum() / self._weights.sum())),
            of_candidate=(self._unscaled(of_candidate[0]), self._unscaled(of_candidate[1])),
            difference=(shift + difference[0] * self._range, shift + difference[1] * self._range),
        )

    def _point(self, values: Floats) -> float:
        """A mean in the return's unit; where chance takes it beyond the bounds, the bound."""
        return self._unscaled(min(max(float(values.mean()), 0.0), 1.0))

    def _sides(self, ratios: Floats, guesses: tuple[Floats, ...], floor: float | None) -> tuple[Side, Side]:
        """The mean of the return, and of what it falls short of the most there is."""
        falls_short = tuple(1 - guess for guess in guesses)
        return Side(ratios, self._returns, guesses, floor), Side(ratios, 1 - self._returns, falls_short, floor)

    def _floor(self, ratios: Floats, taken: Booleans) -> float | None:
        """The least probability of the `taken` actions, where the log's propensities come from a setting.

        Under epsilon-greedy they are few, and with an action's own share (1 - epsilon + epsilon / n) each other one has
        at most what is left of one: so the least is known once both were seen. Of a softmax nobody knows the least.
        """
        if (ratios == 1).all():  # as it acted
            return 1.0
        values = np.unique(self._propensities[self._there].round(_DIGITS))
        if len(values) > _FEW or values[0] > 1 - values[-1] + 1e-9:
            return None
        return float(self._propensities[self._there & taken].min(initial=1.0))

    def _guesses(self) -> tuple[Floats, ...]:
        """Of the return, before each action: by the mean of those that had ended before the episode began, and, where
        values are logged, by what was earned so far and the value of the rest."""
        mean = self._mean_before()[:, None] * np.ones(self._propensities.shape[1])
        informed = mean.copy()
        for i, episode in enumerate(self._episodes):
            earned = 0.0
            for t, step in enumerate(episode.steps):
                if step.value is not None and math.isfinite(step.value):
                    informed[i, t] = self._scaled(earned + step.value)
                earned += step.reward
        return (mean,) if np.array_equal(mean, informed) else (mean, informed)

    def _mean_before(self) -> Floats:
        ends = np.array([e.ended for e in self._episodes])
        order = np.argsort(ends, kind="stable")
        sums = np.concatenate(([0.0], np.cumsum(self._returns[order])))
        counts = np.searchsorted(ends[order], np.array([e.began for e in self._episodes]), side="left")
        means: Floats = (sums[counts] + 0.5) / (counts + 1)  # as if one of middling return had come first
        return means

    def _scaled(self, value: float) -> float:
        return 0.0 if math.isnan(value) else min(max((value - self._low) / self._range, 0.0), 1.0)

    def _unscaled(self, value: float) -> float:
        return self._low + value * self._range


def _misses_one(sample: Floats) -> str:
    """Weights have mean one where propensities are true and nothing of the policy was out of reach."""
    mean, spread = float(sample.mean()), float(sample.std())
    if abs(mean - 1) <= _STANDARD_ERRORS * spread / math.sqrt(len(sample)) + 1e-9:
        return ""
    return (
        f"weights have mean {mean:.3g} where one is expected: it does what stable had no chance to do, or "
        "propensities are wrong"
    )
