"""The gates of a rollout: evidence in, verdicts out, right whenever one looks.

A candidate passes or fails on wealth won by betting (betting.py) on the differences between the arms of each block
(datum.py), so that looking after every block costs nothing. States are small JSON texts; everything here is pure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from checkrein.judge import tally as tallies
from checkrein.judge.betting import still_needed
from checkrein.judge.blocks import Block
from checkrein.judge.datum import arms, design, known, members
from checkrein.judge.intervals import ASYMPTOTIC_FROM
from checkrein.judge.question import Question, Test, questions, refuse
from checkrein.judge.tally import Tally

__all__ = ["Finding", "Test", "begin", "judge", "refuse", "update"]

Verdict = Literal["Continue", "Pass", "Fail"]
_ROUGHLY_FROM = 10  # units without which `expected` would be a guess


@dataclass(frozen=True)
class Finding:
    """A verdict with its numbers. Pass and Fail are for good."""

    verdict: Verdict
    message: str
    stable: float | None
    candidate: float | None
    interval: tuple[float, float] | None
    """Of candidate minus stable (or the constant), or of the candidate for NotAbove; of clipped scores where they are
    clipped. None for subgroups, and where nothing can be said yet."""
    units: int
    """Candidate units seen; for a subgroup, those in it."""
    expected: int | None
    """Candidate units that it may still need if all goes on like this; None where nobody can tell."""


@dataclass
class _State:
    """stable, candidate: count and sum of known scores. spread: the least and the greatest score seen."""

    tallies: list[Tally]
    answers: list[Verdict]
    verdict: Verdict
    units: int
    blocks: int
    unknown: int
    subgroup: bool
    stable: list[float]
    candidate: list[float]
    spread: list[float]


def begin(test: Test) -> str:
    """The state before any evidence: JSON, never above 4096 characters. Raises ValueError with what `refuse` says."""
    refused = refuse(test)
    if refused:
        raise ValueError(refused)
    asked = questions(test)
    new = [tallies.new(question) for question in asked]
    return _dump(_State(new, ["Continue"] * len(asked), "Continue", 0, 0, 0, False, [0, 0.0], [0, 0.0], []))


def update(test: Test, state: str, blocks: Sequence[Block]) -> str:
    """The state with these blocks, in the order in which they were planned. What comes after a verdict is counted, and
    does not change it."""
    now = _load(state)
    for block in blocks:
        _add(test, now, block)
    return _dump(now)


def judge(test: Test, state: str) -> Finding:
    """How it stands."""
    now = _load(state)
    expected = None if now.verdict == "Continue" else 0
    if now.verdict == "Continue" and now.units >= _ROUGHLY_FROM:
        expected = _expected(test, now)
    return Finding(
        verdict=now.verdict,
        message=_message(test, now),
        stable=_mean(now.stable),
        candidate=_mean(now.candidate),
        interval=_interval(test, now),
        units=now.units,
        expected=expected,
    )


def _add(test: Test, now: _State, block: Block) -> None:
    now.subgroup = now.subgroup or block.candidate_in is not None
    asked = questions(test)
    for i, question in enumerate(asked):
        now.tallies[i] = _tallied(question, now, now.tallies[i], block)
    _count(asked[0], now, block)
    for i, question in enumerate(asked):
        _answer(test, question, now, i)
    if now.verdict != "Continue":
        return
    if "Fail" in now.answers:
        now.verdict = "Fail"
    elif all(answer == "Pass" for answer in now.answers):
        now.verdict = "Pass"


def _tallied(question: Question, now: _State, tally: Tally, block: Block) -> Tally:
    unknown = _unknown(question, now)
    if unknown is None:  # no score has been seen yet: there is nothing to tell by what an unknown one may be
        if any(known(question, score) is None for score in (*block.candidate, *block.stable)):
            return tally
        unknown = (0.0, 0.0)
    if question.paired:
        both = arms(block, question, unknown)
        return tally if both is None else tallies.add_pair(question, tally, *both, design(block))
    for score in members(block.candidate, block.candidate_in):
        value = known(question, score)
        tally = tallies.add_single(question, tally, *(unknown if value is None else (value, value)))
    return tally


def _answer(test: Test, question: Question, now: _State, i: int) -> None:
    """A guard never passes: it would stop guarding."""
    if now.answers[i] != "Continue":
        return
    yes, no = tallies.answers(question, now.tallies[i])
    if no and now.units >= test.min_units:
        now.answers[i] = "Fail"
    elif yes and test.role == "Prove":
        now.answers[i] = "Pass"


def _count(question: Question, now: _State, block: Block) -> None:
    ours = [known(question, score) for score in members(block.candidate, block.candidate_in)]
    theirs = [known(question, score) for score in members(block.stable, block.stable_in)]
    now.blocks += 1
    now.units += len(ours)
    compared = ours + theirs if question.paired else ours
    now.unknown += sum(score is None for score in compared)
    for total, scores in ((now.candidate, ours), (now.stable, theirs)):
        told = [score for score in scores if score is not None]
        total[0] += len(told)
        total[1] += sum(told)
    if told := [score for score in compared if score is not None]:
        now.spread = [min([*now.spread[:1], *told]), max([*now.spread[1:], *told])]


def _unknown(question: Question, now: _State) -> tuple[float, float] | None:
    """What an unknown score may be at least and at most.

    Where there is no bound: the least and the most seen, and with a declared variance four standard deviations from the
    means, if that is farther. Nothing better can be said without bounds. None: not even that.
    """
    if not now.spread and question.method == "asymptotic" and math.isinf(question.high - question.low):
        return None
    least, most = now.spread or [0.0, 0.0]
    if question.method == "catoni":
        far = 4 * math.sqrt(question.variance)
        middle = (_mean(now.stable) or 0.0, _mean(now.candidate) or 0.0)
        least, most = min(least, min(middle) - far), max(most, max(middle) + far)
    low = question.low if math.isfinite(question.low) else least
    high = question.high if math.isfinite(question.high) else max(most, low)
    return low, high


def _interval(test: Test, now: _State) -> tuple[float, float] | None:
    question = questions(test)[0]
    if question.paired and now.subgroup:  # its tally is of means over all slots
        return None
    low, high = (float(bound) for bound in tallies.interval(question, now.tallies[0]))
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    if question.paired:
        span = question.high - question.low
        return max(low, -span), min(high, span)
    return max(low, question.low - question.offset), min(high, question.high - question.offset)


def _expected(test: Test, now: _State) -> int | None:
    """Until all pass, or one fails, whichever comes first."""
    passes: list[int | None] = []
    fails: list[int | None] = []
    for question, tally, answer in zip(questions(test), now.tallies, now.answers, strict=True):
        if answer == "Pass":
            continue
        if question.method == "asymptotic":
            return None
        proving = test.role == "Prove"
        passes.append(still_needed(tally.win, now.units, question.alpha_pass) if proving else None)
        fails.append(still_needed(tally.lose, now.units, question.alpha_fail))
    passing = None if None in passes else max((n for n in passes if n is not None), default=None)
    ways = [n for n in (passing, *fails) if n is not None]
    return max(1, min(ways)) if ways else None


def _message(test: Test, now: _State) -> str:
    """One sentence: the numbers, what they are compared with, and how sure that is."""
    if now.units == 0:
        return "no candidate unit has been scored yet, and no data is never a pass"
    candidate, stable = _number(_mean(now.candidate)), _number(_mean(now.stable))
    against = f"at most {test.limit:g} is asked" if test.test == "NotAbove" else _asked(test, stable)
    compared = f"candidate {candidate} over {now.units} units, {against}"
    unknown = f"; {now.unknown} unknown scores count against each verdict" if now.unknown else ""
    return f"{compared}: {_standing(test, now)}{unknown}"


def _asked(test: Test, stable: str) -> str:
    other = f"{test.constant:g} of the reference" if test.constant is not None else f"stable {stable}"
    share = f"{100 * test.margin:g} %"
    amount = {"StableMean": f"{share} of it", "Range": f"{share} of the range", "Absolute": f"{test.margin:g}"}
    relation = "worse by less than" if test.test == "NonInferior" else "better by more than"
    return f"{other}, {relation} {amount[test.margin_of]} is asked"


def _standing(test: Test, now: _State) -> str:
    asked = questions(test)
    about = 1 if len(asked) > 1 and now.answers[0] == "Pass" and now.answers[1] != "Pass" else 0
    if now.verdict == "Fail":
        about = now.answers.index("Fail")
    question, tally = asked[about], now.tallies[about]
    clipped = "" if len(asked) == 1 else (" for clipped scores", " for the share below the clip")[about]
    if now.verdict == "Pass":
        return f"shown (an error of at most {question.alpha_pass:.3g}, however often one looks)"
    if now.verdict == "Fail":
        return f"shown not to hold{clipped} (an error of at most {question.alpha_fail:.3g}, however often one looks)"
    if question.method == "asymptotic":
        few = f", {now.blocks} of at least {ASYMPTOTIC_FROM} blocks seen" if now.blocks < ASYMPTOTIC_FROM else ""
        return f"not decided{clipped}{few}"
    win, lose = (math.exp(min(float(log), 50.0)) for log in tallies.evidence_of(question, tally))
    passing = f"{win:.3g} of {1 / question.alpha_pass:.3g} for a pass, " if test.role == "Prove" else ""
    few = f" and {test.min_units} units" if now.units < test.min_units else ""
    return f"evidence{clipped} {passing}{lose:.3g} of {1 / question.alpha_fail:.3g}{few} for a fail"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _mean(total: Sequence[float]) -> float | None:
    return total[1] / total[0] if total[0] else None


def _dump(state: _State) -> str:
    data = {**vars(state), "tallies": [tally.dump() for tally in state.tallies]}
    return json.dumps(data, separators=(",", ":"), allow_nan=False)


def _load(text: str) -> _State:
    data: dict[str, Any] = json.loads(text)
    return replace(_State(**data), tallies=[Tally.load(tally) for tally in data["tallies"]])
