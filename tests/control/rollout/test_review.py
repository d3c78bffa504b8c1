"""Pairs of episodes that people compare, blind, and what their answers count for."""

from __future__ import annotations

from typing import Any

import pytest
from tests.control.rollout.life import RETURN, Life, canary, strategy

from checkrein.api.rollout import ReviewPair
from checkrein.control.rollout import review

HUMAN = {
    "name": "people",
    "metric": "humanApproval",
    "role": "Prove",
    "test": "NonInferior",
    "margin": {"of": "Absolute", "value": "0.3"},
    "alpha": "0.2",
}
SPEC = strategy(canary=canary({"weight": 50, "units": 4}, gates=[HUMAN]))


def asked() -> Life:
    """People are shown pairs."""
    life = Life(spec=SPEC)
    life.look()
    life.play(8)
    life.look(3)
    assert life.status.review
    return life


def candidate_of(life: Life, pair: ReviewPair) -> str:
    """The candidate's side, as only the operator knows it."""
    arms = {p.episode: p.arm for r in life.replicas for p in r.parts.values()}
    assert {arms[pair.left], arms[pair.right]} == {"candidate", "stable"}
    return "Left" if arms[pair.left] == "candidate" else "Right"


def answer(life: Life, better: str) -> None:
    """People compare all pairs."""
    other = {"Left": "Right", "Right": "Left"}
    said = []
    for pair in life.status.review:
        side = candidate_of(life, pair)
        word = {"candidate": side, "stable": other[side], "Equal": "Equal"}[better]
        said.append({"sample": pair.sample, "answer": word, "by": "ana@example.com"})
    life.say(reviews=said)


@pytest.mark.parametrize(
    ("better", "expected"), [("candidate", "cartpole-2"), ("Equal", "cartpole-2"), ("stable", "cartpole-1")]
)
def test_people_decide(better: str, expected: str) -> None:
    life = asked()
    for _ in range(40):
        answer(life, better)
        life.look(3)
        if life.status.candidate is None:
            break
        life.play(8)
        life.look(3)
    assert life.acting == expected
    assert life.status.candidate is None


def test_an_answer_counts_once() -> None:
    life = asked()
    [first, *_] = life.status.review
    life.say(reviews=[{"sample": first.sample, "answer": "Equal", "by": "ana@example.com"}])
    life.look(3)
    units = life.status.gates[0].units
    assert units == 1
    life.look(3)
    life.look(3)
    assert life.status.gates[0].units == units
    assert [p.sample for p in life.status.review if p.answered] == [first.sample]


def test_few_are_open_at_once_and_none_is_shown_twice() -> None:
    life = asked()
    for _ in range(20):
        life.play(8)
        life.look(3)
    assert len(life.status.review) == review.OPEN_LIMIT
    assert len({p.sample for p in life.status.review}) == review.OPEN_LIMIT


def test_sides_are_even_and_not_told_by_order() -> None:
    sides = [review.is_left_candidate("seed", f"{n}") for n in range(1000)]
    assert 430 < sum(sides) < 570


def test_nobody_is_asked_where_no_gate_asks() -> None:
    life = Life(spec=strategy(canary=canary({"weight": 50, "units": 4}, gates=[RETURN])))
    life.look()
    life.play(8)
    assert life.look(3).review == []


def test_an_answer_to_no_pair_says_nothing() -> None:
    life = asked()
    said: Any = [{"sample": "nonsense", "answer": "Left", "by": "eve@example.com"}]
    life.say(reviews=said)
    assert life.look(3).gates[0].units == 0
