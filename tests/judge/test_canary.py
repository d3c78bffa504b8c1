"""Gates of a rollout: what they refuse, when they pass and fail, and that nothing unknown ever helps."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkrein.judge.blocks import Block
from checkrein.judge.canary import Finding, begin, judge, refuse, update
from checkrein.judge.canary import Test as Gate

RETURNS = Gate("NonInferior", "Prove", 0.05, 0.0125, low=0, high=500, margin_of="StableMean", margin=0.05)
RATE = Gate("NotAbove", "Prove", 0.05, 0.0125, low=0, high=1, limit=0.01)
COST = Gate("NotAbove", "Guard", 0.05, 0.0125, low=0, limit=10)
UNBOUNDED = Gate("NonInferior", "Prove", 0.05, 0.0125, margin=25)
DECLARED = replace(UNBOUNDED, variance=98.0**2)
CLIPPED = replace(UNBOUNDED, clip=(-500.0, 500.0), margin=50)
ASYMPTOTIC = replace(UNBOUNDED, asymptotic=True)
PEOPLE = Gate("Superior", "Prove", 0.05, 0.0125, low=0, high=1, margin=0.0)
SUPERIOR = replace(RETURNS, test="Superior")
ALL = {
    "returns": RETURNS,
    "superior": SUPERIOR,
    "range": replace(RETURNS, low=-100, margin_of="Range"),
    "rate": RATE,
    "cost": COST,
    "cost with a maximum": replace(COST, role="Prove", maximum=100),
    "variance": DECLARED,
    "clip": CLIPPED,
    "asymptotic": ASYMPTOTIC,
    "pinned": replace(RETURNS, constant=450.0),
    "people": PEOPLE,
}


def found(test: Gate, blocks: list[Block]) -> Finding:
    return judge(test, update(test, begin(test), blocks))


def pair(candidate: float | None, stable: float | None) -> Block:
    return Block((candidate,), (stable,))


def drawn(seed: int, mean: float, sd: float, stable: float = 447, blocks: int = 1500) -> list[Block]:
    rng = random.Random(seed)

    def one(around: float) -> float:
        return min(500.0, max(0.0, rng.gauss(around, sd)))

    return [pair(one(mean), one(stable)) for _ in range(blocks)]


@pytest.mark.parametrize(
    ("test", "words"),
    [
        pytest.param(replace(RETURNS, low=-1), r"reward.bounds.min is -1, below 0.*use Range", id="a sign would flip"),
        pytest.param(replace(UNBOUNDED, margin_of="StableMean"), "there is no reward.bounds.min", id="no lower bound"),
        pytest.param(replace(DECLARED, margin_of="Range", margin=0.1), "needs reward.bounds or clip", id="no range"),
        pytest.param(UNBOUNDED, "Bahadur and Savage", id="an unbounded mean"),
        pytest.param(replace(RETURNS, margin=1.0), "covers all", id="a margin of everything"),
        pytest.param(replace(RETURNS, margin_of="Absolute", margin=500), "covers all", id="a margin of the range"),
        pytest.param(replace(RETURNS, margin=-0.1), "swap NonInferior and Superior", id="a negative margin"),
        pytest.param(replace(RETURNS, low=500), "leave no room", id="no room between the bounds"),
        pytest.param(replace(PEOPLE, margin=0.1, constant=0.9), "the most there can be", id="a target out of reach"),
        pytest.param(replace(RATE, limit=None), "needs a limit", id="no limit"),
        pytest.param(replace(RATE, limit=1.0), "asks nothing", id="a limit that nothing exceeds"),
        pytest.param(replace(COST, limit=-1), "below 0", id="a limit below everything"),
        pytest.param(replace(COST, role="Prove"), "set maximum", id="a cost without a maximum"),
        pytest.param(replace(RATE, alpha_pass=0.0), "alpha", id="certainty"),
    ],
)
def test_what_can_never_be_shown_is_refused_with_the_mend(test: Gate, words: str) -> None:
    reason = refuse(test)
    assert reason is not None
    with pytest.raises(ValueError, match=words):
        begin(test)


@pytest.mark.parametrize("test", ALL.values(), ids=ALL.keys())
def test_no_data_is_never_a_pass(test: Gate) -> None:
    finding = found(test, [])
    assert (finding.verdict, finding.units, finding.interval, finding.expected) == ("Continue", 0, None, None)
    assert "no data is never a pass" in finding.message


@pytest.mark.parametrize(
    ("test", "block", "verdict", "units"),
    [
        pytest.param(RETURNS, pair(500, 500), "Pass", 94, id="both perfect: 94 units"),
        pytest.param(RATE, pair(0, 0), "Pass", 481, id="an error rate of 1 % takes 481 flawless units"),
        pytest.param(RETURNS, pair(0, 500), "Fail", 10, id="total failure"),
        pytest.param(replace(RETURNS, min_units=30), pair(0, 500), "Fail", 30, id="no fail before minUnits"),
        pytest.param(COST, pair(100, 0), "Fail", 10, id="a cost far above its limit, without a maximum"),
        pytest.param(replace(RATE, limit=0.0, role="Guard"), pair(0.001, 0), "Fail", 10, id="a limit of nothing"),
        pytest.param(PEOPLE, pair(1, 0), "Pass", 7, id="people who always prefer it"),
    ],
)
def test_known_verdicts(test: Gate, block: Block, verdict: str, units: int) -> None:
    before = found(test, [block] * (units - 1))
    after = found(test, [block] * units)
    assert (before.verdict, after.verdict, after.units) == ("Continue", verdict, units), (before, after)
    assert after.expected == 0


@pytest.mark.parametrize(
    ("test", "blocks", "verdict"),
    [
        pytest.param(RETURNS, drawn(1, 447, 60), "Pass", id="equal"),
        pytest.param(RETURNS, drawn(2, 358, 60), "Fail", id="20 % worse"),
        pytest.param(DECLARED, drawn(3, 447, 98), "Pass", id="equal, variance declared"),
        pytest.param(DECLARED, drawn(4, 358, 98), "Fail", id="20 % worse, variance declared"),
        pytest.param(CLIPPED, drawn(5, 447, 98), "Pass", id="equal, clipped"),
        pytest.param(ASYMPTOTIC, drawn(6, 447, 98), "Pass", id="equal, asymptotic"),
        pytest.param(ASYMPTOTIC, drawn(7, 358, 98), "Fail", id="20 % worse, asymptotic"),
        pytest.param(
            replace(RETURNS, test="Superior"), drawn(8, 447, 60, 350), "Pass", id="better by more than the margin"
        ),
        pytest.param(
            replace(RETURNS, test="Superior"), drawn(9, 350, 60, 350), "Fail", id="equal, which is not better"
        ),
        pytest.param(replace(RETURNS, constant=400.0), drawn(10, 447, 60), "Pass", id="as good as the reference"),
        pytest.param(replace(RETURNS, constant=450.0), drawn(11, 350, 60, 350), "Fail", id="as good as a worse stable"),
        pytest.param(RETURNS, drawn(12, 447, 60, blocks=20), "Continue", id="too few"),
    ],
)
def test_verdicts(test: Gate, blocks: list[Block], verdict: str) -> None:
    finding = found(test, blocks)
    assert finding.verdict == verdict, finding
    if finding.interval:
        low, high = finding.interval
        assert low < high


def test_a_guard_only_ever_stops() -> None:
    guard = replace(RATE, role="Guard", limit=0.2)
    state = update(guard, begin(guard), [pair(0, 0)] * 200)
    assert judge(guard, state).verdict == "Continue"
    assert judge(guard, update(guard, state, [pair(1, 0)] * 400)).verdict == "Fail"


@pytest.mark.parametrize(("first", "then"), [((500, 500), (0, 500)), ((0, 500), (500, 0))], ids=["Pass", "Fail"])
def test_a_verdict_is_for_good(first: tuple[float, float], then: tuple[float, float]) -> None:
    state = update(RETURNS, begin(RETURNS), [pair(*first)] * 100)
    verdict = judge(RETURNS, state).verdict
    assert verdict != "Continue"
    after = judge(RETURNS, update(RETURNS, state, [pair(*then)] * 1000))
    assert (after.verdict, after.units) == (verdict, 1100)


def test_a_clip_hides_no_ruin() -> None:
    """Clipped means are alike; but the candidate is below the clip in one episode of four, however deep."""
    tight = replace(CLIPPED, clip=(400.0, 500.0), margin=45)
    rng = random.Random(3)
    blocks = [pair(-1e6 if rng.random() < 0.25 else 500, 480) for _ in range(1500)]
    finding = found(tight, blocks)
    assert finding.verdict == "Fail"
    assert "below the clip" in finding.message


def test_a_finding_carries_its_numbers() -> None:
    finding = found(RETURNS, [pair(480, 440), pair(460, 450), pair(None, 430)])
    assert (finding.candidate, finding.stable, finding.units) == (470, 440, 3)
    assert finding.message.startswith("candidate 470 over 3 units, stable 440, worse by less than 5 % of it is asked")
    assert "of 20 for a pass" in finding.message
    assert "of 80 and 10 units for a fail" in finding.message
    assert "1 unknown scores count against each verdict" in finding.message


def test_what_is_still_expected_is_roughly_what_it_takes() -> None:
    finding = found(RETURNS, [pair(500, 500)] * 50)
    assert finding.expected == 44
    assert found(RETURNS, [pair(451.24, 475)] * 50).expected is None


def test_interval_of_a_rate_is_its_own_and_of_a_reference_the_difference() -> None:
    rate = found(RATE, [pair(0, 1)] * 400).interval
    assert rate is not None
    assert rate[0] == 0
    assert 0 < rate[1] < 0.02
    pinned = found(replace(RETURNS, constant=450.0), [pair(460, 0)] * 400).interval
    assert pinned is not None
    assert pinned[0] < 10 < pinned[1]
    assert pinned[1] - pinned[0] < 20


def coin(seed: int, candidate: float, stable: float, p: float, sd: float = 30) -> list[Block]:
    rng = random.Random(seed)

    def one() -> Block:
        if rng.random() < p:
            return Block((rng.gauss(candidate, sd),), (), probability=p)
        return Block((), (rng.gauss(stable, sd),), probability=p)

    return [one() for _ in range(4000)]


@pytest.mark.parametrize("p", [0.05, 0.5])
@pytest.mark.parametrize(("candidate", "verdict"), [(400.0, "Pass"), (320.0, "Fail")])
def test_units_assigned_one_by_one(candidate: float, verdict: str, p: float) -> None:
    finding = found(RETURNS, coin(1, candidate, 400, p))
    assert finding.verdict == verdict, finding
    assert finding.candidate == pytest.approx(candidate, abs=10)
    assert finding.interval is not None
    assert finding.interval[0] < candidate - 400 < finding.interval[1]


def grouped(inside: float, outside: float) -> list[Block]:
    """A fifth of the episodes is in the group; there the candidate is `inside` times as good, else `outside`."""
    rng = random.Random(5)

    def one() -> Block:
        ours, theirs = rng.random() < 0.2, rng.random() < 0.2
        score = rng.gauss(400, 20) * (inside if ours else outside)
        return Block((score,), (rng.gauss(400, 20),), (ours,), (theirs,))

    return [one() for _ in range(2500)]


def test_a_subgroup_is_judged_by_itself() -> None:
    harmed, spared = found(RETURNS, grouped(0.7, 1.2)), found(RETURNS, grouped(1.0, 0.5))
    assert (harmed.verdict, spared.verdict) == ("Fail", "Pass")
    assert harmed.candidate == pytest.approx(280, abs=10)
    assert spared.units == pytest.approx(500, abs=100)


@pytest.mark.parametrize("test", [RETURNS, RATE], ids=["pairs", "alone"])
def test_an_arm_with_nobody_in_the_group_says_nothing(test: Gate) -> None:
    empty = Block((1.0,), (1.0,), (False,), (False,))
    finding = found(test, [empty] * 1000)
    assert (finding.verdict, finding.units, finding.candidate, finding.stable) == ("Continue", 0, None, None)


def test_a_block_without_an_arm_says_nothing_about_pairs() -> None:
    assert found(RETURNS, [Block((), (0.0,)), Block((500.0,), ())] * 500).verdict == "Continue"


@pytest.mark.parametrize("test", [t for n, t in ALL.items() if n != "people"], ids=[n for n in ALL if n != "people"])
def test_only_unknown_scores_decide_nothing(test: Gate) -> None:
    assert found(test, [pair(None, None)] * 300).verdict == "Continue"


@pytest.mark.parametrize("test", ALL.values(), ids=ALL.keys())
def test_states_stay_small_and_are_json(test: Gate) -> None:
    rng = random.Random(8)
    blocks = [pair(rng.choice([None, rng.random() * 500]), rng.random() * 500) for _ in range(300)]
    state = update(test, begin(test), blocks)
    json.loads(state)
    assert len(state) < 3000


@pytest.mark.parametrize("test", ALL.values(), ids=ALL.keys())
def test_blocks_may_come_in_any_portions(test: Gate) -> None:
    blocks = drawn(13, 440, 90, blocks=120)
    state = begin(test)
    for at in range(0, 120, 7):
        state = update(test, state, blocks[at : at + 7])
    assert judge(test, state) == found(test, blocks)


SCORES = st.floats(-50, 550) | st.none() | st.just(math.nan)
ARMS = st.lists(SCORES, min_size=1, max_size=3)
BLOCKS = st.lists(st.builds(lambda c, s: Block(tuple(c), tuple(s)), ARMS, ARMS), max_size=25)


def logs(test: Gate, blocks: list[Block]) -> list[tuple[list[float], list[float]]]:
    """Log wealth to pass and to fail, of each question."""
    data: dict[str, Any] = json.loads(update(test, begin(test), blocks))
    filled: Callable[[list[float]], list[float]] = lambda w: [*w, *[0.0] * (9 - len(w))]  # noqa: E731
    return [(filled(t["win"]), filled(t["lose"])) for t in data["tallies"]]


@pytest.mark.parametrize("name", ["returns", "superior", "range", "rate", "cost with a maximum", "clip", "pinned"])
@settings(max_examples=40, deadline=None)
@given(blocks=BLOCKS, truth=st.lists(st.floats(-50, 550), min_size=150, max_size=150))
def test_an_unknown_score_never_helps(name: str, blocks: list[Block], truth: list[float]) -> None:
    """Whatever it was: knowing it would have left at least as much evidence for a pass, and for a fail."""
    told = iter(truth)

    def filled(scores: tuple[float | None, ...]) -> tuple[float | None, ...]:
        return tuple(next(told) if s is None or math.isnan(s) else s for s in scores)

    known = [Block(filled(b.candidate), filled(b.stable)) for b in blocks]
    for (win, lose), (best_win, best_lose) in zip(logs(ALL[name], blocks), logs(ALL[name], known), strict=True):
        assert all(w <= k + 1e-9 for w, k in zip(win, best_win, strict=True))
        assert all(w <= k + 1e-9 for w, k in zip(lose, best_lose, strict=True))


@pytest.mark.parametrize("name", ["returns", "rate", "clip", "variance"])
@settings(max_examples=30, deadline=None)
@given(blocks=BLOCKS, rnd=st.randoms(use_true_random=False))
def test_the_order_of_blocks_changes_no_evidence(name: str, blocks: list[Block], rnd: random.Random) -> None:
    known = [b for b in blocks if not any(s is None or math.isnan(s) for s in (*b.candidate, *b.stable))]
    for one, other in zip(logs(ALL[name], known), logs(ALL[name], rnd.sample(known, len(known))), strict=True):
        assert one[0] == pytest.approx(other[0], abs=1e-9)
        assert one[1] == pytest.approx(other[1], abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(blocks=BLOCKS, better=st.floats(0, 500))
def test_a_better_candidate_never_fails_sooner(blocks: list[Block], better: float) -> None:
    raised = [Block(tuple(s if s is None else max(s, better) for s in b.candidate), b.stable) for b in blocks]
    (win, lose), (more, less) = logs(RETURNS, blocks)[0], logs(RETURNS, raised)[0]
    assert all(a <= b + 1e-9 for a, b in zip(win, more, strict=True))
    assert all(a >= b - 1e-9 for a, b in zip(lose, less, strict=True))
