"""How actions are chosen: as often as their propensities say, the same each time, and refused where it cannot work."""

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

from checkrein.agent.exploration import Actor, Draw, actor, require_allowed
from checkrein.agent.kernel import Outputs
from checkrein.api.deployment import Exploration
from checkrein.api.spaces import Space
from checkrein.shield.arrays import Array

DISCRETE = Space(type="Discrete", dtype="int64", n=3, start=-1)
MANY = Space(type="Discrete", dtype="int64", n=300)
MULTI = Space(type="MultiDiscrete", dtype="int64", nvec=[2, 3])
BINARY = Space(type="MultiBinary", dtype="int8", shape=[2, 1])
BOX = Space(type="Box", dtype="float32", shape=[2], low=["-1"], high=["1"])
OPEN = Space(type="Box", dtype="float32", shape=[1], low=["-inf"], high=["inf"])
WHOLE = Space(type="Box", dtype="uint8", shape=[1], low=["0"], high=["9"])

EPSILON = Exploration.model_validate({"epsilonGreedy": {"epsilon": "0.3"}})
BOLTZMANN = Exploration.model_validate({"boltzmann": {"temperature": "0.5"}})
GAUSSIAN = Exploration.model_validate({"gaussian": {"sigma": "0.05"}})

SAID = {
    "discrete": (DISCRETE, Outputs(np.array(1), logits=np.array([0.3, -0.5, 1.0], np.float32))),
    "multi-discrete": (MULTI, Outputs(np.array([1, 2]), logits=np.array([0.1, 0.6, -0.5, 0.0, 0.9], np.float32))),
    "multi-binary": (BINARY, Outputs(np.array([[1], [0]], np.int8), logits=np.array([0.8, -0.4], np.float32))),
}
EVERY = {
    "discrete": [np.array(i) for i in (-1, 0, 1)],
    "multi-discrete": [np.array(pair) for pair in itertools.product(range(2), range(3))],
    "multi-binary": [np.array(pair).reshape(2, 1) for pair in itertools.product(range(2), repeat=2)],
}
ACTING = {
    "stochastic": ("Stochastic", None),
    "epsilon-greedy": ("Deterministic", EPSILON),
    "epsilon-greedy on stochastic": ("Stochastic", EPSILON),
    "boltzmann": ("Deterministic", BOLTZMANN),
}


def drawer(seed: int) -> Draw:
    return lambda count: np.random.default_rng(seed).random(count)


def edge(value: float) -> Draw:
    return lambda count: np.full(count, value)


@pytest.mark.parametrize(("acting", "exploration"), ACTING.values(), ids=ACTING.keys())
@pytest.mark.parametrize("space", SAID.keys())
def test_actions_come_as_often_as_their_propensities_say(
    space: str, acting: str, exploration: Exploration | None
) -> None:
    """Chi-square over 8,000 decisions: at most seven deviations above its mean, and the propensities sum to one."""
    described, outputs = SAID[space]
    rng, runs = np.random.default_rng(3), 8000
    chooser = actor(described, acting, exploration)
    proposals = [chooser.propose(outputs, rng.random) for _ in range(runs)]
    counts = Counter(str(p.action.tolist()) for p in proposals)
    said = {str(p.action.tolist()): p.propensity for p in proposals}
    assert said.keys() == {str(a.tolist()) for a in EVERY[space]}
    assert sum(said.values()) == pytest.approx(1)
    statistic = sum((counts[a] - runs * p) ** 2 / (runs * p) for a, p in said.items())
    freedom = len(said) - 1
    assert statistic < freedom + 7 * math.sqrt(2 * freedom)
    assert all(p.action.dtype == described.dtype and p.action.shape == outputs.action.shape for p in proposals)


@pytest.mark.parametrize(("acting", "exploration"), ACTING.values(), ids=ACTING.keys())
def test_a_discrete_proposal_says_the_probability_of_every_action(acting: str, exploration: Exploration | None) -> None:
    described, outputs = SAID["discrete"]
    for seed in range(20):
        proposal = actor(described, acting, exploration).propose(outputs, drawer(seed))
        assert proposal.probabilities is not None
        assert proposal.probabilities.sum() == pytest.approx(1)
        assert proposal.probabilities[int(proposal.action) + 1] == pytest.approx(proposal.propensity)


@pytest.mark.parametrize("space", SAID.keys())
def test_epsilon_greedy_explores_evenly_and_says_when(space: str) -> None:
    described, outputs = SAID[space]
    rng = np.random.default_rng(9)
    proposals = [actor(described, "Deterministic", EPSILON).propose(outputs, rng.random) for _ in range(4000)]
    explored = [p for p in proposals if p.explored]
    assert len(explored) / 4000 == pytest.approx(0.3, abs=0.05)
    assert all((p.action == outputs.action).all() for p in proposals if not p.explored)
    shares = Counter(str(p.action.tolist()) for p in explored)
    assert [n / len(explored) for n in shares.values()] == pytest.approx(
        [1 / len(EVERY[space])] * len(shares), abs=0.05
    )


@pytest.mark.parametrize(
    "count", [pytest.param(2, id="two"), pytest.param(256, id="few"), pytest.param(257, id="many")]
)
def test_epsilon_greedy_is_the_same_for_few_actions_and_for_many(count: int) -> None:
    space = Space(type="Discrete", dtype="int64", n=count)
    proposal = actor(space, "Deterministic", EPSILON).propose(Outputs(np.array(1)), edge(0.999))
    assert not proposal.explored
    assert proposal.propensity == pytest.approx(0.7 + 0.3 / count)
    explored = actor(space, "Deterministic", EPSILON).propose(Outputs(np.array(1)), edge(0.0))
    assert (explored.explored, int(explored.action)) == (True, 0)
    assert explored.propensity == pytest.approx(0.3 / count)


def test_boltzmann_explores_where_it_leaves_the_greedy_action() -> None:
    rng, outputs = np.random.default_rng(1), Outputs(np.array(1), q_values=np.array([1.0, 2.0, 3.0]))
    proposals = [actor(DISCRETE, "Deterministic", BOLTZMANN).propose(outputs, rng.random) for _ in range(500)]
    assert {p.explored for p in proposals} == {True, False}
    assert all(p.explored == (int(p.action) != 1) for p in proposals)


def test_deterministic_acting_is_certain_and_draws_nothing() -> None:
    def draw(count: int) -> Array:
        raise AssertionError("nothing is drawn")

    for space, outputs in SAID.values():
        proposal = actor(space, "Deterministic", None).propose(outputs, draw)
        assert (proposal.propensity, proposal.explored) == (1.0, False)
        assert proposal.action is outputs.action
    box = actor(BOX, "Deterministic", None).propose(Outputs(np.zeros(2, np.float32)), draw)
    assert box.propensity is None


CHOOSERS = {
    **{f"{a}, {s}": (SAID[s], ACTING[a]) for a in ACTING for s in SAID},
    "gaussian": ((BOX, Outputs(np.zeros(2, np.float32))), ("Deterministic", GAUSSIAN)),
    "stochastic box": ((BOX, Outputs(np.zeros(2), mean=np.zeros(2), log_std=np.zeros(2))), ("Stochastic", None)),
}


@pytest.mark.parametrize(("said", "acting"), CHOOSERS.values(), ids=CHOOSERS.keys())
def test_asked_again_it_says_the_same(said: tuple[Space, Outputs], acting: tuple[str, Exploration | None]) -> None:
    """A retry must get the answer that it missed; and uniforms at the edges do no harm."""
    chooser: Callable[[], Actor] = lambda: actor(said[0], *acting)  # noqa: E731 - one for each replica
    for draw in (drawer(0), edge(0.0), edge(math.nextafter(1, 0))):
        one, other = (chooser().propose(said[1], draw) for _ in range(2))
        assert (one.action.tolist(), one.propensity) == (other.action.tolist(), other.propensity)


def test_gaussian_noise_is_a_share_of_the_range_around_the_action() -> None:
    rng, outputs = np.random.default_rng(2), Outputs(np.array([0.25, -0.5], np.float32))
    proposals = [actor(BOX, "Deterministic", GAUSSIAN).propose(outputs, rng.random) for _ in range(4000)]
    actions = np.array([p.action for p in proposals])
    assert actions.mean(axis=0) == pytest.approx([0.25, -0.5], abs=0.01)
    assert actions.std(axis=0) == pytest.approx([0.1, 0.1], abs=0.01)
    assert all(p.explored for p in proposals)
    first = proposals[0]
    z = (first.action.astype(float) - outputs.action) / 0.1
    assert first.propensity == pytest.approx(math.prod(np.exp(-z * z / 2) / (0.1 * math.sqrt(2 * math.pi))))


def test_noise_on_a_stochastic_policy_adds_to_its_variance() -> None:
    outputs = Outputs(np.zeros(2), mean=np.zeros(2), log_std=np.log([0.1, 0.1]))
    rng = np.random.default_rng(4)
    proposals = [actor(BOX, "Stochastic", GAUSSIAN).propose(outputs, rng.random) for _ in range(4000)]
    assert np.std([p.action for p in proposals], axis=0) == pytest.approx([math.hypot(0.1, 0.1)] * 2, abs=0.01)


def test_an_action_moved_to_a_bound_has_no_density() -> None:
    at_the_bound = Outputs(np.ones(2, np.float32))
    proposals = [actor(BOX, "Deterministic", GAUSSIAN).propose(at_the_bound, drawer(seed)) for seed in range(50)]
    moved = [p for p in proposals if (p.action == 1).any()]
    assert 0 < len(moved) < 50
    assert all((p.propensity is None) == (p.action == 1).any() for p in proposals)
    assert all((p.action <= 1).all() for p in proposals)


@given(st.floats(allow_nan=True, allow_infinity=True), st.floats(allow_nan=True), st.integers(0, 1000))
def test_no_network_makes_an_action_outside_the_box(mean: float, log_std: float, seed: int) -> None:
    outputs = Outputs(np.zeros(2), mean=np.array([mean, 0.0]), log_std=np.array([log_std, 0.0]))
    with np.errstate(all="ignore"):
        try:
            proposal = actor(BOX, "Stochastic", None).propose(outputs, drawer(seed))
        except ValueError:
            return
    assert ((proposal.action >= -1) & (proposal.action <= 1)).all()
    assert proposal.propensity is None or 0 < proposal.propensity < math.inf


@pytest.mark.parametrize(
    ("space", "acting", "exploration", "words"),
    [
        pytest.param(
            BOX, "Deterministic", EPSILON, r"epsilonGreedy needs a finite .* Box\(2\); use gaussian", id="epsilon, box"
        ),
        pytest.param(BOX, "Deterministic", BOLTZMANN, "boltzmann needs a finite", id="boltzmann on a box"),
        pytest.param(
            DISCRETE, "Deterministic", GAUSSIAN, r"gaussian needs a Box .* Discrete\(3\)", id="gaussian, discrete"
        ),
        pytest.param(OPEN, "Deterministic", GAUSSIAN, "open side", id="noise in share of an endless range"),
        pytest.param(WHOLE, "Deterministic", GAUSSIAN, "floating-point", id="noise on whole numbers"),
        pytest.param(WHOLE, "Stochastic", None, "Stochastic needs a Box of floating-point", id="normal whole numbers"),
    ],
)
def test_what_cannot_work_is_refused(space: Space, acting: str, exploration: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        actor(space, acting, exploration)


def test_what_would_try_masked_actions_is_refused() -> None:
    bits = {"name": "action_mask", "type": "MultiBinary", "dtype": "int8", "shape": [3]}
    masked = Space.model_validate({"type": "Dict", "members": [bits]})
    with pytest.raises(ValueError, match="epsilonGreedy would try actions that action_mask forbids; use boltzmann"):
        require_allowed(EPSILON, masked)
    require_allowed(BOLTZMANN, masked)
    require_allowed(EPSILON, BOX)


@pytest.mark.parametrize(
    ("space", "acting", "exploration", "example", "words"),
    [
        pytest.param(
            DISCRETE, "Stochastic", None, Outputs(np.array(0)), "Stochastic needs the network's logits", id="logits"
        ),
        pytest.param(
            DISCRETE,
            "Stochastic",
            None,
            Outputs(np.array(0), q_values=np.zeros(3)),
            "logits",
            id="q-values are no logits",
        ),
        pytest.param(DISCRETE, "Deterministic", BOLTZMANN, Outputs(np.array(0)), "logits or q_values", id="scores"),
        pytest.param(BOX, "Stochastic", None, Outputs(np.zeros(2)), "mean and log_std", id="mean"),
        pytest.param(
            DISCRETE, "Deterministic", EPSILON, Outputs(np.array(7)), "7 is none of the 3 from -1", id="no action"
        ),
    ],
)
def test_a_network_that_does_not_carry_it_is_refused(
    space: Space, acting: str, exploration: Any, example: Outputs, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        actor(space, acting, exploration, example)
