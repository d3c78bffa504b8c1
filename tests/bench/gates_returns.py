"""Kinds of returns for a thousand simulated rollouts at once: blocks of both arms, each array of shape (runs,)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from checkrein.judge.assignment import shape
from checkrein.judge.betting import Array
from checkrein.judge.canary import Test
from checkrein.judge.datum import Arm, Design
from checkrein.judge.question import Question, questions

MARGIN = 0.05
GATE = Test("NonInferior", "Prove", 0.05, 0.05 / 4, margin_of="StableMean", margin=MARGIN)  # as one of four gates
RETURNS = replace(GATE, low=0.0, high=500.0)
CENSUS = 4_000_000  # draws from which a mean is taken that has no formula


@dataclass(frozen=True)
class Seen:
    """What one block shows in each run.

    arms: for each question of the test. units: the candidate's. scores: the plain means of its arms, for those who
    compare means; NaN where a run has none.
    """

    arms: tuple[tuple[Arm, Arm], ...]
    design: Design
    units: Array
    scores: tuple[Array, Array]


class Kind(Protocol):
    """A kind of return, and the test that it is judged by. `factor`: candidate's mean over stable's."""

    @property
    def name(self) -> str:
        """What its figures are called."""

    @property
    def test(self) -> Test:
        """What it is judged by."""

    def blocks(self, rng: np.random.Generator, runs: int, factor: float) -> Iterator[Seen]:
        """Without end."""

    def effect(self, factor: float) -> float | None:
        """Candidate's mean minus stable's; None where it changes with time."""


@dataclass(frozen=True)
class Plain:
    """Draws that do not depend on each other: coins, bounded returns, rare ruin."""

    name: str
    mean: float
    sd: float
    test: Test = RETURNS
    weight: int = 50
    lost: float = 0.0
    late: float = 0.0

    def blocks(self, rng: np.random.Generator, runs: int, factor: float) -> Iterator[Seen]:
        question = questions(self.test)[0]
        size, candidates = shape(self.weight)
        while True:
            ours = self.draw(rng, (runs, candidates), factor)
            theirs = self.draw(rng, (runs, size - candidates), 1.0)
            yield both(self._arm(rng, question, ours), self._arm(rng, question, theirs), ours, theirs)

    def effect(self, factor: float) -> float | None:
        return (factor - 1) * self.mean

    def draw(self, rng: np.random.Generator, size: tuple[int, int], factor: float = 1.0) -> Array:
        """Scores."""
        high = self.test.high or 1.0
        mean, variance = self.mean / high, (self.sd / high) ** 2
        strength = mean * (1 - mean) / variance - 1 if variance else 0.0
        if strength < 1e-9:  # two values: their mean is all that there is to it
            return high * (rng.random(size) < mean * factor).astype(float)
        return factor * high * rng.beta(mean * strength, (1 - mean) * strength, size)

    def _arm(self, rng: np.random.Generator, question: Question, scores: Array) -> Arm:
        if not self.lost and not self.late:
            return Arm(scores.mean(axis=1), scores.mean(axis=1))
        luck = rng.random(scores.shape)
        told = np.where(luck < self.late, question.low, scores)  # unfinished at the deadline
        unknown = luck > 1 - self.lost
        low, high = (np.where(unknown, bound, told).mean(axis=1) for bound in (question.low, question.high))
        return Arm(low, high)


@dataclass(frozen=True)
class Autocorrelated:
    """The world has moods: what an episode would return depends on when it starts (AR(1) of .98 over starts)."""

    name: str = "autocorrelated"
    test: Test = RETURNS

    def blocks(self, rng: np.random.Generator, runs: int, factor: float) -> Iterator[Seen]:
        mood = np.zeros(runs)
        while True:
            would = np.empty((runs, 2))
            for i in range(2):
                mood = 0.98 * mood + math.sqrt(1 - 0.98**2) * rng.standard_normal(runs)
                would[:, i] = np.clip(400 + 80 * mood + 40 * rng.standard_normal(runs), 0, 500)
            order = rng.integers(0, 2, runs)
            ours, theirs = would[np.arange(runs), order] * factor, would[np.arange(runs), 1 - order]
            yield both(Arm(ours, ours), Arm(theirs, theirs), ours[:, None], theirs[:, None])

    def effect(self, factor: float) -> float | None:
        return 0.0 if factor == 1 else None


@dataclass(frozen=True)
class Drifting:
    """Stable's mean falls from 480 to 300 while the weight goes from 5 over 25 to 50."""

    name: str = "drifting under weights 5, 25, 50"
    test: Test = RETURNS

    def blocks(self, rng: np.random.Generator, runs: int, factor: float) -> Iterator[Seen]:
        units = 0
        while True:
            size, _ = shape(5 if units < 20 else 25 if units < 120 else 50)
            mean = 300 + 180 * math.exp(-units / 100)
            scores = np.clip(rng.normal(mean, 60, (runs, size)), 0, 500)
            ours, theirs = factor * scores[:, :1], scores[:, 1:]
            yield both(Arm(ours[:, 0], ours[:, 0]), Arm(theirs.mean(axis=1), theirs.mean(axis=1)), ours, theirs)
            units += 1

    def effect(self, factor: float) -> float | None:
        return 0.0 if factor == 1 else None


@dataclass(frozen=True)
class Clients:
    """A client is a unit; its 1 to 20 episodes share what it is like. Clients are assigned one by one."""

    name: str = "clients"
    test: Test = RETURNS
    share: float = 0.5

    def blocks(self, rng: np.random.Generator, runs: int, factor: float) -> Iterator[Seen]:
        p = self.share
        while True:
            alike = rng.normal(400, 80, runs)
            scores = np.clip(alike + rng.normal(0, 80, runs) / np.sqrt(rng.integers(1, 21, runs)), 0, 500)
            chosen = rng.random(runs) < p
            ours = np.where(chosen, factor * scores / p, 0.0)
            theirs = np.where(chosen, 0.0, scores / (1 - p))
            arms = (Arm(ours, ours, chosen / p), Arm(theirs, theirs, ~chosen / (1 - p)))
            plain = np.where(chosen, factor * scores, np.nan), np.where(chosen, np.nan, scores)
            yield Seen((arms,), Design(1, 1, probability=p), chosen.astype(float), plain)

    def effect(self, factor: float) -> float | None:
        rng = np.random.default_rng(1)
        noise = rng.normal(0, 80, CENSUS) / np.sqrt(rng.integers(1, 21, CENSUS))
        return (factor - 1) * float(np.clip(rng.normal(400, 80, CENSUS) + noise, 0, 500).mean())


@dataclass(frozen=True)
class HeavyTailed:
    """Student's t with few degrees of freedom around 300. The factor moves what the test is about: the mean, clipped
    where there is a clip."""

    name: str
    test: Test
    freedom: float
    scale: float = 60.0

    def blocks(self, rng: np.random.Generator, runs: int, factor: float) -> Iterator[Seen]:
        moved = self._moved(factor)
        asked = questions(self.test)
        while True:
            ours, theirs = (300 + self.scale * rng.standard_t(self.freedom, (2, runs))) + np.array([[moved], [0.0]])
            arms = tuple((_scored(question, ours), _scored(question, theirs)) for question in asked)
            yield Seen(arms, Design(), np.ones(runs), (ours, theirs))

    def effect(self, factor: float) -> float | None:
        return (factor - 1) * 300.0 if self.test.clip is None else (factor - 1) * self._clipped(0.0)

    def _moved(self, factor: float) -> float:
        """By how much its returns are moved so that the clipped mean is `factor` times stable's."""
        if self.test.clip is None:
            return (factor - 1) * 300.0
        aim, low, high = factor * self._clipped(0.0), -400.0, 400.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if self._clipped(middle) < aim else (low, middle)
        return low

    def _clipped(self, moved: float) -> float:
        assert self.test.clip is not None
        draws = self.scale * np.random.default_rng(1).standard_t(self.freedom, CENSUS // 8)
        return float(np.clip(300 + moved + draws, *self.test.clip).mean())


@dataclass(frozen=True)
class Group:
    """A gate about a fifth of the episodes, which return less than the others; told by the first observation."""

    name: str = "subgroup of a fifth"
    test: Test = RETURNS

    def blocks(self, rng: np.random.Generator, runs: int, factor: float) -> Iterator[Seen]:
        while True:
            scores = np.clip(rng.normal(350, 60, (2, runs)), 0, 500) * np.array([[factor], [1.0]])
            inside = rng.random((2, runs)) < 0.2
            counted = scores * inside
            arms = tuple(Arm(counted[i], counted[i], inside[i].astype(float)) for i in range(2))
            plain = np.where(inside, scores, np.nan)
            yield Seen(((arms[0], arms[1]),), Design(subgroup=True), inside[0].astype(float), (plain[0], plain[1]))

    def effect(self, factor: float) -> float | None:
        return None


def both(ours: Arm, theirs: Arm, candidates: Array, stables: Array) -> Seen:
    """A permuted block; `candidates` and `stables` are its scores, shape (runs, units)."""
    runs, count = candidates.shape
    design = Design(count, stables.shape[1])
    return Seen(((ours, theirs),), design, np.full(runs, float(count)), (candidates.mean(axis=1), stables.mean(axis=1)))


def _scored(question: Question, scores: Array) -> Arm:
    """Question.score for many."""
    if question.tail_below is not None:
        scores = -(scores < question.tail_below).astype(float)
    counted = np.clip(scores, question.low, question.high)
    return Arm(counted, counted)
