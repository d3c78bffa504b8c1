"""Off-policy estimates on simulated logs: coverage of every interval, and what is answered at all.

Part of `make bench-gates`. A case draws contexts, lets stable act with exploration, and knows the true mean of the
candidate and of stable. A run is looked at several times while it grows; it errs where an interval misses at any look.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.bench.report import Figure, write

from checkrein.judge.offpolicy import Episode, Estimate, Step, estimate

RUNS = 300
LOOKS = (100, 300, 1000)
ALPHA = 0.05
LOW, HIGH = -2.0, 3.0
COVERED = f">= {1 - ALPHA}"
CONTEXTS = 6
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A world in which both policies are certain of their actions.

    `stable` and `candidate` give the action in each of the contexts; `chances`, (CONTEXTS, actions), the probability
    that a step succeeds; the return grows evenly with the share of `horizon` steps that do.
    """

    name: str
    stable: tuple[int, ...]
    candidate: tuple[int, ...]
    chances: Floats
    horizon: int = 1
    epsilon: float = 0.2
    boltzmann: bool = False
    values: bool = False
    lost: float = 0.0

    def distribution(self) -> Floats:
        """How stable acts with exploration: (CONTEXTS, actions)."""
        n = self.chances.shape[1]
        own = np.eye(n)[list(self.stable)]
        if self.boltzmann:
            weights = np.exp(1.5 * own + 0.3 * np.sin(np.arange(CONTEXTS * n)).reshape(CONTEXTS, n))
            return np.asarray(weights / weights.sum(axis=1, keepdims=True))
        return np.asarray((1 - self.epsilon) * own + self.epsilon / n)

    def truth(self, actions: Sequence[int]) -> float:
        """The mean return of a policy: contexts are drawn evenly in each step."""
        return LOW + (HIGH - LOW) * float(self.chances[np.arange(CONTEXTS), list(actions)].mean())

    def episodes(self, rng: np.random.Generator, count: int) -> list[Episode]:
        """What stable's log tells; one in `lost` of the bad ones lacks its end, which no average forgives."""
        distribution, scale = self.distribution(), (HIGH - LOW) / self.horizon
        found = []
        for i in range(count):
            steps, total = [], 0.0
            for _ in range(self.horizon):
                x = int(rng.integers(CONTEXTS))
                action = int(rng.choice(len(distribution[x]), p=distribution[x]))
                gained = float(rng.random() < self.chances[x, action])
                expected = scale * float(self.chances[x, self.candidate[x]]) if self.horizon == 1 else None
                steps.append(
                    Step(
                        propensity=float(distribution[x, action]),
                        candidate=float(action == self.candidate[x]),
                        reward=LOW / self.horizon + scale * gained,
                        explored=action != self.stable[x],
                        value=LOW + expected if self.values and expected is not None else None,
                    )
                )
                total += gained
            lost = total < self.horizon / 2 and rng.random() < self.lost
            found.append(Episode(tuple(steps), float(i), i + 0.5, missing="its end" if lost else ""))
        return found


def chances(seed: int, actions: int, good: Sequence[int], advantage: float) -> Floats:
    """Chances of actions, where those of `good` are better by `advantage`."""
    base = np.random.default_rng(seed).uniform(0.2, 0.7, (CONTEXTS, actions))
    return np.asarray(np.clip(base + advantage * np.eye(actions)[list(good)], 0, 1))


_STABLE, _LIKE, _OTHER = (0, 1, 0, 1, 0, 1), (0, 1, 0, 1, 0, 0), (1, 1, 0, 0, 1, 0)
CASES = (
    Case("bandit, the same policy", _STABLE, _STABLE, chances(1, 2, _STABLE, 0.3)),
    Case("bandit, one context in six differs", _STABLE, _LIKE, chances(2, 2, _LIKE, 0.3)),
    Case("bandit, epsilon 0.05", _STABLE, _LIKE, chances(3, 3, _LIKE, 0.3), epsilon=0.05),
    Case("bandit, four contexts in six differ", _STABLE, _OTHER, chances(4, 2, _OTHER, 0.4)),
    Case("bandit, values logged", _STABLE, _OTHER, chances(4, 2, _OTHER, 0.4), values=True),
    Case("bandit, rare success", _STABLE, _OTHER, 0.03 * chances(5, 2, _OTHER, 0.3)),
    Case("bandit, Boltzmann", _STABLE, _OTHER, chances(6, 4, _OTHER, 0.3), boltzmann=True),
    Case("bandit, one bad end in ten is lost", _STABLE, _LIKE, chances(2, 2, _LIKE, 0.3), lost=0.08),
    Case("three steps", _STABLE, _LIKE, chances(7, 2, _LIKE, 0.3), horizon=3),
    Case("five steps", _STABLE, _LIKE, chances(8, 2, _LIKE, 0.3), horizon=5),
    Case("five steps, mostly different", _STABLE, _OTHER, chances(9, 2, _OTHER, 0.3), horizon=5),
)


@dataclass
class Tally:
    """What became of the runs of a case."""

    runs: int = 0
    answered: int = 0
    missed: int = 0
    missed_candidate: int = 0
    widths: float = 0.0
    found: int = 0

    def add(self, looks: Sequence[Estimate], candidate: float, difference: float) -> None:
        """One run: it errs if it errs at any look at which it answers."""
        told = [e for e in looks if not e.refused]
        self.runs += 1
        self.answered += bool(told)
        self.missed += any(not _inside(e.difference, difference) for e in told)
        self.missed_candidate += any(not _inside(e.of_candidate, candidate) for e in told)
        if told and told[-1].difference:
            low, high = told[-1].difference
            self.widths += (high - low) / (HIGH - LOW)
            self.found += low > 0 or high < 0


def _inside(interval: tuple[float, float] | None, value: float) -> bool:
    return interval is not None and interval[0] - 1e-6 <= value <= interval[1] + 1e-6


def simulate(case: Case, runs: int = RUNS, looks: Sequence[int] = LOOKS, seed: int = 2024) -> Tally:
    """Runs of one case, each looked at while it grows."""
    tally, rng = Tally(), np.random.default_rng(seed)
    candidate, stable = case.truth(case.candidate), case.truth(case.stable)
    for _ in range(runs):
        episodes = case.episodes(rng, looks[-1])
        tally.add([estimate(episodes[:n], LOW, HIGH, ALPHA) for n in looks], candidate, candidate - stable)
    return tally


def figures(progress: Callable[[str], Any] = print) -> list[Figure]:
    """Coverage over all looks, refusals and widths, for each case."""
    found = []
    for case in CASES:
        progress(f"off-policy: {case.name}")
        tally = simulate(case)
        answered = max(tally.answered, 1)
        found += [
            Figure(f"off-policy, {case.name}: answered", tally.answered / tally.runs, "of runs"),
            Figure(f"off-policy, {case.name}: difference covered", 1 - tally.missed / tally.runs, "of runs", COVERED),
            Figure(
                f"off-policy, {case.name}: mean covered", 1 - tally.missed_candidate / tally.runs, "of runs", COVERED
            ),
            Figure(f"off-policy, {case.name}: width at {LOOKS[-1]}", tally.widths / answered, "of the range"),
            Figure(f"off-policy, {case.name}: sign found at {LOOKS[-1]}", tally.found / answered, "of answers"),
        ]
    return found


if __name__ == "__main__":
    write("offpolicy", figures(), runs=RUNS)
