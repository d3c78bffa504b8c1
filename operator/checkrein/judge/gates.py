"""Whether an evaluation shows what a gate asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from checkrein.judge.bounded_mean import lower_bound, spent_alpha


@dataclass(frozen=True)
class Verdict:
    """A judgement with its evidence. `confidence` is what is left of the gate's after earlier evaluations."""

    passed: bool
    lower_bound: float
    mean: float | None
    at_least: float
    episodes: int
    evaluated_before: int
    confidence: float

    @property
    def explanation(self) -> str:
        """For people, as a sentence."""
        if self.mean is None:
            return "no episodes were evaluated, and no data is never a pass"
        compared = "reaches" if self.passed else "is below"
        retries = f" after {self.evaluated_before} earlier evaluations" if self.evaluated_before else ""
        return (
            f"mean return {self.mean:.1f} over {self.episodes} episodes: its lower bound {self.lower_bound:.1f}"
            f" ({100 * self.confidence:.2f} % confidence{retries}) {compared} the {self.at_least:g} asked for"
        )


def judge_gate(
    values: Sequence[float], bounds: tuple[float, float], at_least: float, confidence: float, evaluated_before: int
) -> Verdict:
    """Passed if the lower bound of the mean reaches `at_least`; `values` are returns of evaluation episodes.

    Each earlier evaluation of this policy's name in this environment makes the bound stricter, so that trying often
    does not pass by luck. `bounds` are an episode's least and greatest return: without them no distribution-free
    bound of a mean exists (Bahadur and Savage 1956) and the gate cannot be judged. Raises ValueError on a value
    outside them; the caller clips, and says so.
    """
    alpha = spent_alpha(1 - confidence, evaluated_before + 1)
    bound = lower_bound(values, *bounds, alpha)
    return Verdict(
        passed=len(values) > 0 and bound >= at_least,
        lower_bound=bound,
        mean=float(np.mean(values)) if len(values) else None,
        at_least=at_least,
        episodes=len(values),
        evaluated_before=evaluated_before,
        confidence=1 - alpha,
    )
