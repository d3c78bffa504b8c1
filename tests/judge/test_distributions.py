"""Probabilities that sum to one, choices that come as often as they say."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkrein.judge import distributions as dist

SCORES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20).map(np.array)
TEMPERATURES = st.floats(1e-3, 1e3)
UNIFORMS = st.floats(0, 1, exclude_max=True)
# Chi-square with k degrees of freedom has mean k and variance 2k; seven deviations never come by chance.
SEVEN = 7.0


def unlikely(counts: Counter[Any], probabilities: dict[Any, float]) -> bool:
    """Whether counts contradict the probabilities, by a chi-square statistic."""
    total = counts.total()
    assert counts.keys() <= {value for value, p in probabilities.items() if p > 0}
    expected = {value: total * p for value, p in probabilities.items() if p > 0}
    statistic = sum((counts[value] - e) ** 2 / e for value, e in expected.items())
    freedom = max(1, len(expected) - 1)
    return statistic > freedom + SEVEN * math.sqrt(2 * freedom)


@given(SCORES, TEMPERATURES)
def test_softmax_sums_to_one_and_keeps_the_order(scores: np.ndarray, temperature: float) -> None:
    probabilities = dist.softmax(scores, temperature)
    assert probabilities.sum() == pytest.approx(1)
    assert (probabilities >= 0).all()
    assert (np.diff(probabilities[np.argsort(scores)]) >= 0).all()


def test_softmax_by_hand() -> None:
    scores = np.log(np.array([1.0, 2.0, 5.0], np.float32))
    assert dist.softmax(scores) == pytest.approx([0.125, 0.25, 0.625])
    assert dist.softmax(scores, 0.5) == pytest.approx([1 / 30, 4 / 30, 25 / 30])


def test_a_masked_action_is_never_picked() -> None:
    probabilities = dist.softmax(np.array([-np.inf, 0.0, -np.inf, 0.0, -np.inf]))
    assert probabilities.tolist() == [0, 0.5, 0, 0.5, 0]
    edges = [0.0, 0.5, math.nextafter(0.5, 0), math.nextafter(1, 0)]
    assert [dist.pick(probabilities, u) for u in edges] == [1, 3, 1, 3]


@given(SCORES, UNIFORMS)
def test_picked_is_what_can_be(scores: np.ndarray, uniform: float) -> None:
    probabilities = dist.softmax(scores)
    assert probabilities[dist.pick(probabilities, uniform)] > 0


@given(st.integers(1, 2**31), UNIFORMS)
def test_an_even_pick_lies_in_range(count: int, uniform: float) -> None:
    assert 0 <= dist.pick_evenly(count, uniform) < count


@pytest.mark.parametrize(
    "scores",
    [
        pytest.param([math.nan, 0.0], id="not a number"),
        pytest.param([math.inf, 0.0], id="infinite"),
        pytest.param([-math.inf, -math.inf], id="everything masked"),
    ],
)
def test_nothing_to_choose_by(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="below infinity"):
        dist.softmax(np.array(scores))


@given(st.lists(st.one_of(st.floats(-800, 800), st.just(-math.inf)), min_size=1, max_size=20).map(np.array))
def test_sigmoid_is_softmax_over_a_score_and_zero(scores: np.ndarray) -> None:
    pairs = [dist.softmax(np.array([score, 0.0]))[0] for score in scores]
    assert dist.sigmoid(scores) == pytest.approx(pairs)


@given(st.lists(st.integers(-1, 5), min_size=6, max_size=6).map(np.array), SCORES.filter(lambda s: len(s) >= 6))
def test_what_is_pushed_is_neither_lost_nor_made(onto: np.ndarray, scores: np.ndarray) -> None:
    probabilities = dist.softmax(scores[:6])
    pushed = dist.pushed(probabilities, onto)
    assert pushed.sum() == pytest.approx(probabilities[onto >= 0].sum())
    assert pushed[2] == pytest.approx(sum(p for p, to in zip(probabilities, onto, strict=True) if to == 2))


KINDS = {
    "discrete": (dist.Discrete(4), 4, [np.array(i) for i in range(4)]),
    "multi-discrete": (dist.MultiDiscrete([2, 3]), 5, [np.array(p) for p in itertools.product(range(2), range(3))]),
    "multi-binary": (dist.MultiBinary(3), 3, [np.array(bits) for bits in itertools.product(range(2), repeat=3)]),
}


@pytest.mark.parametrize(("kind", "size", "actions"), KINDS.values(), ids=KINDS.keys())
def test_choices_come_as_often_as_they_say(kind: Any, size: int, actions: list[np.ndarray]) -> None:
    rng = np.random.default_rng(11)
    distribution = kind.softmax(rng.normal(size=size), 0.7)
    probabilities = {str(a.tolist()): kind.probability(distribution, a) for a in actions}
    assert sum(probabilities.values()) == pytest.approx(1)
    assert len(actions) == kind.count

    def often(choose: Callable[[np.ndarray], np.ndarray]) -> Counter[str]:
        return Counter(str(choose(rng.random(kind.uniforms)).tolist()) for _ in range(20_000))

    assert not unlikely(often(lambda u: kind.pick(distribution, u)), probabilities)
    assert not unlikely(often(kind.evenly), dict.fromkeys(probabilities, 1 / kind.count))
    assert unlikely(often(kind.evenly), probabilities), "the check itself must be able to fail"


@pytest.mark.parametrize(("kind", "size", "actions"), KINDS.values(), ids=KINDS.keys())
def test_a_point_is_certain(kind: Any, size: int, actions: list[np.ndarray]) -> None:
    for action in actions:
        point = kind.point(action)
        assert [kind.probability(point, other) for other in actions] == [float((a == action).all()) for a in actions]
        assert (kind.pick(point, np.full(kind.uniforms, 0.999)) == action).all()


@pytest.mark.parametrize(("kind", "size", "actions"), KINDS.values(), ids=KINDS.keys())
def test_another_number_of_scores_is_refused(kind: Any, size: int, actions: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match=f"must be {size} scores"):
        kind.softmax(np.zeros(size + 1))


def test_a_huge_product_has_infinitely_many_actions() -> None:
    assert dist.MultiBinary(5000).count == dist.MultiDiscrete([10] * 1000).count == math.inf


@pytest.mark.parametrize("count", [pytest.param(1, id="odd"), pytest.param(4, id="even")])
def test_normals_are_normal(count: int) -> None:
    """Mean, variance, skew and kurtosis, the shares inside one and two deviations, and no correlation."""
    rng = np.random.default_rng(5)
    drawn = np.array([dist.normals(rng.random(dist.normal_uniforms(count)), count) for _ in range(40_000)])
    flat = drawn.ravel()
    assert [np.mean(flat**k) for k in (1, 2, 3, 4)] == pytest.approx([0, 1, 0, 3], abs=0.15)
    assert [np.mean(np.abs(flat) < k) for k in (1, 2)] == pytest.approx([0.6827, 0.9545], abs=0.01)
    if count > 1:
        assert np.corrcoef(drawn.T) == pytest.approx(np.eye(count), abs=0.03)


@pytest.mark.parametrize("uniform", [pytest.param(0.0, id="least"), pytest.param(math.nextafter(1, 0), id="greatest")])
def test_normals_are_finite_at_the_edges(uniform: float) -> None:
    assert np.isfinite(dist.normals(np.full(4, uniform), 4)).all()


def test_a_density_by_hand() -> None:
    one = dist.normal_density(np.array([1.0]), np.array([0.0]), np.array([2.0]))
    assert one == pytest.approx(math.exp(-0.125) / (2 * math.sqrt(2 * math.pi)))
    grid = np.linspace(-12, 12, 2001)
    mass = [dist.normal_density(np.array([x]), np.array([0.3]), np.array([1.5])) or 0.0 for x in grid]
    assert np.trapezoid(mass, grid) == pytest.approx(1)


@pytest.mark.parametrize(
    ("dimensions", "std"),
    [
        pytest.param(1, 0.0, id="no spread"),
        pytest.param(1000, 1e-3, id="beyond the greatest float"),
        pytest.param(1000, 1e3, id="below the least float"),
    ],
)
def test_no_density_is_said_to_be_none(dimensions: int, std: float) -> None:
    zeros = np.zeros(dimensions)
    assert dist.normal_density(zeros, zeros, np.full(dimensions, std)) is None


@given(
    st.lists(st.tuples(st.floats(-1e30, 1e30), st.floats(0, 1e30), UNIFORMS, UNIFORMS), min_size=1, max_size=5),
    st.sampled_from([np.float32, np.float64]),
)
def test_a_normal_action_stays_in_its_bounds(elements: list[tuple[float, ...]], dtype: Any) -> None:
    mean, std, *uniforms = (np.array(column) for column in zip(*elements, strict=True))
    low, high = np.full(len(mean), -1, dtype), np.full(len(mean), 2, dtype)
    action, density = dist.normal_action(mean, std, low, high, np.concatenate(uniforms)[: 2 * len(mean)])
    assert action.dtype == dtype
    assert ((low <= action) & (action <= high)).all()
    assert density is None or density > 0


def test_a_moved_action_has_no_density() -> None:
    still = (np.array([0.5]), np.array([0.1]), np.array([0.0]))
    assert dist.normal_action(*still, np.array([1.0]), np.array([0.3, 0.25]))[1] is not None
    assert dist.normal_action(*still, np.array([0.4]), np.array([0.3, 0.25])) == (0.4, None)


@pytest.mark.parametrize("mean", [pytest.param(math.nan, id="nan"), pytest.param(math.inf, id="infinite")])
def test_an_action_that_is_no_number_is_refused(mean: float) -> None:
    open_side = np.array([-np.inf]), np.array([np.inf])
    with pytest.raises(ValueError, match="finite"):
        dist.normal_action(np.array([mean]), np.array([1.0]), *open_side, np.array([0.1, 0.2]))
