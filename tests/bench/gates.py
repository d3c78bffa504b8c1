"""`make bench-gates`: what gates promise, measured on simulated rollouts; writes build/bench/gates.json.

For each kind of return: 1,000 rollouts at the boundary (exactly one margin worse), 1,000 with an equal candidate, 1,000
with one that is 20 % worse; each is looked at after every block.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
from tests.bench import gates_rollouts as rollouts
from tests.bench.gates_returns import (
    GATE,
    MARGIN,
    RETURNS,
    Autocorrelated,
    Clients,
    Drifting,
    Group,
    HeavyTailed,
    Kind,
    Plain,
)
from tests.bench.gates_rollouts import RUNS, Outcome, play, play_alone
from tests.bench.report import Figure, write

from checkrein.judge.betting import Array
from checkrein.judge.canary import Test
from checkrein.judge.quantiles import quantile_interval

MOST_ERRORS = "<= 62"  # of 1,000: 5 % and what chance adds to it
UNITS = 1500
BOUNDARY, EQUAL, WORSE = 1 - MARGIN, 1.0, 0.8

COINS = replace(GATE, low=0.0, high=1.0)
CLIPPED = replace(GATE, clip=(0.0, 600.0))
DECLARED = replace(GATE, variance=3 * 60.0**2, margin_of="Absolute", margin=MARGIN * 300)
ASYMPTOTIC = replace(RETURNS, asymptotic=True)

BOUNDED = Plain("bounded", 447, 98)
RUIN = Plain("rare ruin", 499.5, 500 * math.sqrt(0.999 * 0.001))  # 500, and once in 1,000 nothing
LENGTHS = Plain("length is return", 300, 120)
KINDS: tuple[Kind, ...] = (
    BOUNDED,
    Plain("bounded, weight 5", 447, 98, weight=5),
    Plain("coins", 0.9, 0.3, COINS),
    RUIN,
    HeavyTailed("heavy-tailed, clipped", CLIPPED, 2.1),
    HeavyTailed("heavy-tailed, variance declared", DECLARED, 3.0),
    Autocorrelated(),
    Drifting(),
    Clients(),
    LENGTHS,
    Plain("late and lost outcomes", 447, 98, lost=0.01, late=0.01),
    Group(),
)


def main() -> None:
    """All of it, some minutes on one core."""
    began = time.monotonic()
    figures = [figure for kind in KINDS for figure in told(kind)]
    figures += [*degrees(), *alone(), *others(), *asymptotic(), *latencies()]
    write("gates", figures, seconds=round(time.monotonic() - began))


def told(kind: Kind) -> list[Figure]:
    """One row of the table."""
    began = time.monotonic()
    boundary, equal, worse = (play(kind, factor, UNITS) for factor in (BOUNDARY, EQUAL, WORSE))
    name = kind.name
    found = [
        Figure(f"{name}: promoted at the boundary", count(boundary.passed), "of 1,000", MOST_ERRORS),
        Figure(f"{name}: stopped at the boundary", count(boundary.failed), "of 1,000", MOST_ERRORS),
        Figure(f"{name}: stopped though equal", count(equal.failed), "of 1,000", MOST_ERRORS),
        Figure(f"{name}: equal one promoted", count(equal.passed), "of 1,000"),
        Figure(f"{name}: within units, median", median(equal, 50), "units"),
        Figure(f"{name}: 90 %", median(equal, 90), "units"),
        Figure(f"{name}: t-test of equal power", rollouts.t_test_units(equal, MARGIN, "Pass", kind.test), "units"),
        Figure(f"{name}: 20 % worse one stopped", count(worse.failed), "of 1,000"),
        Figure(f"{name}: it took, median", median(worse, 50), "units", "<= 80" if kind == BOUNDED else None),
    ]
    covered = [outcome.covered for outcome in (boundary, equal, worse) if outcome.covered is not None]
    if covered:
        least = min(100 * float(np.mean(c)) for c in covered)
        found.append(Figure(f"{name}: interval always right", least, "%", ">= 95"))
    sys.stderr.write(f"{name}: {time.monotonic() - began:.0f} s\n")
    return found


def degrees() -> list[Figure]:
    """Bounded returns of candidates in between, and what a test of a fixed size would have taken."""
    found = []
    degrees: tuple[tuple[float, Literal["Pass", "Fail"]], ...] = ((0.975, "Pass"), (0.9, "Fail"), (0.8, "Fail"))
    for factor, verdict in degrees:
        outcome = play(BOUNDED, factor, UNITS)
        who = f"{100 * (1 - factor):.3g} % worse"
        found += [
            Figure(f"{who}: promoted", count(outcome.passed), "of 1,000"),
            Figure(f"{who}: stopped", count(outcome.failed), "of 1,000"),
            Figure(f"{who}: median", median(outcome, 50), "units"),
            Figure(f"{who}: 90 %", median(outcome, 90), "units"),
            Figure(
                f"{who}: t-test of equal power",
                rollouts.t_test_units(outcome, MARGIN, verdict, RETURNS),
                "units",
            ),
        ]
    return found


def alone() -> list[Figure]:
    """Tests without stable's scores, at their limit."""
    cost = Test("NotAbove", "Prove", GATE.alpha_pass, GATE.alpha_fail, low=0, limit=10)
    errors = replace(cost, high=1.0, limit=0.02)
    rows: dict[str, tuple[Test, Callable[[np.random.Generator, int], Array], float | None]] = {
        "errors": (errors, lambda rng, n: (rng.random(n) < 0.02).astype(float), 0.02),
        "cost up to a maximum": (
            replace(cost, maximum=1000),
            lambda rng, n: rng.exponential(10, n).clip(max=1000),
            10.0,
        ),
        "cost without a maximum": (replace(cost, role="Guard"), lambda rng, n: rng.exponential(10, n), None),
        "pinned reference": (
            replace(RETURNS, constant=400),
            lambda rng, n: BOUNDARY * 500 * rng.beta(4, 1, n),
            -MARGIN * 400,
        ),
    }
    found = []
    for name, (test, draw, truth) in rows.items():
        outcome = play_alone(test, draw, truth, UNITS)
        found += [
            Figure(f"{name}: promoted at the boundary", count(outcome.passed), "of 1,000", MOST_ERRORS),
            Figure(f"{name}: stopped at the boundary", count(outcome.failed), "of 1,000", MOST_ERRORS),
        ]
        if outcome.covered is not None:
            share = 100 * float(np.mean(outcome.covered))
            found.append(Figure(f"{name}: interval always right", share, "%", ">= 95"))
    return found


def others() -> list[Figure]:
    """Gates on means, as others have them, on the same bounded returns."""
    ways = {
        "means of 50 pairs": rollouts.threshold,
        "Argo, 5 measurements of 10 pairs": rollouts.argo,
        "Flagger, 10 pairs a check": rollouts.flagger,
    }
    found = []
    scores = {factor: play(BOUNDED, factor, rollouts.PEEK_FROM).scores for factor in (BOUNDARY, EQUAL, WORSE)}
    for name, promoted in ways.items():
        found += [
            Figure(f"{name}: promoted at the boundary", count(promoted(scores[BOUNDARY], MARGIN)), "of 1,000"),
            Figure(f"{name}: stopped though equal", count(~promoted(scores[EQUAL], MARGIN)), "of 1,000"),
            Figure(f"{name}: 20 % worse one stopped", count(~promoted(scores[WORSE], MARGIN)), "of 1,000"),
        ]
    name, rng = "means as episodes finish", np.random.default_rng(3)
    verdicts = [
        rollouts.as_they_finish(lambda size: LENGTHS.draw(rng, size), f, MARGIN) for f in (BOUNDARY, EQUAL, WORSE)
    ]
    found += [
        Figure(f"{name}: promoted at the boundary", count(verdicts[0]), "of 1,000"),
        Figure(f"{name}: stopped though equal", count(~verdicts[1]), "of 1,000"),
        Figure(f"{name}: 20 % worse one stopped", count(~verdicts[2]), "of 1,000"),
    ]
    return found


def asymptotic() -> list[Figure]:
    """`guarantee: Asymptotic`, which promises nothing for what it has hardly seen."""
    found = []
    for kind in (BOUNDED, RUIN):
        outcome = play(replace(kind, test=ASYMPTOTIC), BOUNDARY, UNITS)
        found.append(Figure(f"asymptotic, {kind.name}: promoted at the boundary", count(outcome.passed), "of 1,000"))
        found.append(Figure(f"asymptotic, {kind.name}: stopped at the boundary", count(outcome.failed), "of 1,000"))
    return found


def latencies() -> list[Figure]:
    """Quantiles of lognormal latencies, looked at 40 times each."""
    rng, found = np.random.default_rng(5), []
    values = rng.lognormal(0, 1, (RUNS, 2000))
    for p, z in ((0.5, 0.0), (0.99, 2.3263479)):
        truth, right = float(np.exp(z)), 0
        for run in values:
            intervals = [quantile_interval(run[:n], p) for n in range(50, 2001, 50)]
            right += all(i is not None and i[0] <= truth <= i[1] for i in intervals)
        found.append(Figure(f"latency, p{100 * p:.0f}: interval always right", 100 * right / RUNS, "%", ">= 95"))
    return found


def count(flags: rollouts.Flags) -> float:
    """Of a thousand."""
    return 1000 * float(np.mean(flags))


def median(outcome: Outcome, percent: int) -> float | None:
    """Percentile of the units of those that came to a verdict."""
    decided = outcome.units[~np.isnan(outcome.units)]
    return float(np.percentile(decided, percent)) if len(decided) else None


if __name__ == "__main__":
    main()
