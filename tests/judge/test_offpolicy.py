"""Off-policy estimates: what is refused and why, what is answered, and how often an answer is wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.bench.offpolicy import CASES, HIGH, LOW, Case, simulate

from checkrein.judge.offpolicy import Episode, Step, estimate

ALPHA = 0.05


def logged(
    n: int,
    *,
    epsilon: float = 0.2,
    actions: int = 2,
    steps: int = 1,
    differs: float = 0.3,
    rewards: tuple[float, float] = (0.2, 0.8),
    seed: int = 1,
) -> list[Episode]:
    """Stable explores with epsilon, and the candidate's own action is another one in a share of the decisions, and then
    the better one. `rewards`: chances of a reward of 1/steps after stable's own action, and after any other."""
    rng, found = np.random.default_rng(seed), []
    for i in range(n):
        played = []
        for _ in range(steps):
            explored = bool(rng.random() < epsilon)
            action = int(rng.integers(actions)) if explored else 0
            candidate = int(rng.random() < differs)
            propensity = epsilon / actions + (1 - epsilon) * (action == 0)
            reward = float(rng.random() < rewards[min(action, 1)]) / steps
            played.append(Step(propensity, float(action == candidate), reward, explored))
        found.append(Episode(tuple(played), float(i), i + 0.5))
    return found


def each(episodes: list[Episode], **changes: object) -> list[Episode]:
    """With every step changed."""
    return [replace(e, steps=tuple(replace(s, **changes) for s in e.steps)) for e in episodes]  # type: ignore[arg-type]


def some(episodes: list[Episode], count: int, **changes: object) -> list[Episode]:
    """With the first so many changed."""
    return [replace(e, **changes) for e in episodes[:count]] + episodes[count:]  # type: ignore[arg-type]


GOOD = logged(400)


def test_a_bandit_is_answered() -> None:
    """Stable earns 0.2; the candidate 0.2 + 0.3 x 0.6 = 0.38."""
    found = estimate(logged(4000), 0, 1, ALPHA)
    assert (found.refused, found.horizon, found.episodes, found.unknown) == ("", 1, 4000, 0)
    assert found.stable == pytest.approx(0.2, abs=0.03)
    for value in (found.candidate, found.inverse, found.normalised):
        assert value == pytest.approx(0.38, abs=0.06)
    assert found.of_candidate is not None
    assert found.difference is not None
    assert found.of_candidate[0] < 0.38 < found.of_candidate[1]
    assert 0 < found.difference[0] < 0.18 < found.difference[1] < 0.35


def test_the_effective_sample_size_is_kishs() -> None:
    """At epsilon 0.1, two actions and full agreement 95 % of the weights are 1/0.95, and the others 0."""
    episodes = logged(1000, epsilon=0.1, differs=0)
    agreed = sum(e.steps[0].candidate == 1 for e in episodes)
    assert estimate(episodes, 0, 1, ALPHA).effective == pytest.approx(agreed)


@pytest.mark.parametrize(
    ("episodes", "words"),
    [
        pytest.param([], "there are no episodes", id="no log"),
        pytest.param(each(GOOD, propensity=1.0, explored=False), "stable never explored", id="deterministic logging"),
        pytest.param(
            each(GOOD, propensity=1.0, explored=False, candidate=1.0),
            "stable never explored",
            id="deterministic logging, though both agree throughout",
        ),
        pytest.param(each(GOOD, propensity=3.7), "no probabilities", id="densities"),
        pytest.param(each(GOOD, propensity=None), "they lack: a propensity (400)", id="no propensities"),
        pytest.param(each(GOOD, candidate=None), "they lack: the candidate's action (400)", id="no candidate"),
        pytest.param(logged(400, steps=6), "episodes have up to 6 steps", id="a long horizon"),
        pytest.param(
            some(GOOD, 21, missing="its end"), "21 of 400 episodes are not whole in the log", id="too many gaps"
        ),
        pytest.param(
            some(GOOD, 30, steps=(Step(1.0, 0.0),)),
            "a chance of what the candidate would have done (30)",
            id="certain actions that the candidate would not have taken",
        ),
        pytest.param(logged(500, epsilon=0.1, differs=0.98), "the effective sample size is", id="hardly any overlap"),
        pytest.param(
            logged(400, steps=5, epsilon=0.1, differs=0.9), "the effective sample size is", id="none over five steps"
        ),
        pytest.param(GOOD[:25], "the effective sample size is", id="too few episodes"),
        pytest.param(
            each(GOOD, candidate=0.0)[:300] + each(GOOD, candidate=1.0)[300:],
            "weights have mean",
            id="what the candidate does was out of reach",
        ),
        pytest.param(
            each(logged(400, epsilon=0.9, actions=4), explored=True)[:200] + logged(200, epsilon=0.9, actions=4),
            "exploration hides",
            id="stable's own actions cannot be told",
        ),
    ],
)
def test_what_the_log_does_not_carry_is_refused(episodes: list[Episode], words: str) -> None:
    found = estimate(episodes, 0, 1, ALPHA)
    assert words in found.refused
    assert (found.candidate, found.difference) == (None, None)
    assert found.episodes == len(episodes)


def test_a_refusal_has_its_numbers() -> None:
    found = estimate(logged(500, epsilon=0.1, differs=0.98), 0, 1, ALPHA)
    assert 0 < found.effective < 30
    assert f"{found.effective:.1f} of 500 episodes" in found.refused


def test_a_copy_of_stable_does_not_look_better_because_stable_explores() -> None:
    """Exploring costs a lot here: what is done instead never pays."""
    found = estimate(logged(3000, differs=0, rewards=(1.0, 0.0)), 0, 1, ALPHA)
    assert found.difference is not None
    assert found.difference[0] <= 0 <= found.difference[1]
    assert found.stable == pytest.approx(1, abs=0.02)
    assert found.difference[1] < 0.05


def test_a_stochastic_policy_that_does_not_explore_is_judged_as_it_acted() -> None:
    rng = np.random.default_rng(3)
    actions = rng.random(2000) < 0.3
    episodes = [
        Episode((Step(0.3 if a else 0.7, float(a), float(a)),), float(i), i + 0.5) for i, a in enumerate(actions)
    ]
    found = estimate(episodes, 0, 1, ALPHA)
    assert found.refused == ""
    assert found.stable == pytest.approx(0.3, abs=0.04)
    assert found.candidate == pytest.approx(1, abs=0.02)


def test_gaps_cost_what_they_could_have_cost() -> None:
    """Whatever was lost: all of it may have been the worst, or the best."""
    whole, gapped = (estimate(e, 0, 1, ALPHA) for e in (GOOD, some(GOOD, 20, missing="its end")))
    assert gapped.unknown == 20
    assert whole.difference is not None
    assert gapped.difference is not None
    assert gapped.difference[0] < whole.difference[0] - 0.02
    assert gapped.difference[1] > whole.difference[1] + 0.02


def test_an_episode_that_was_cut_off_counts_as_the_least() -> None:
    worst = estimate(some(each(GOOD, reward=0.9), 400, worst=True), 0, 1, ALPHA)
    least = estimate(each(GOOD, reward=0.0), 0, 1, ALPHA)
    assert worst == least


@pytest.mark.parametrize("odd", [math.nan, -math.inf, -7.0], ids=str)
def test_odd_returns_count_as_the_least(odd: float) -> None:
    assert estimate(each(GOOD, reward=odd), 0, 1, ALPHA) == estimate(each(GOOD, reward=0.0), 0, 1, ALPHA)


def test_other_units_give_the_same_answer_in_those_units() -> None:
    moved = [replace(e, steps=tuple(replace(s, reward=-100 + 500 * s.reward) for s in e.steps)) for e in GOOD]
    here, there = estimate(GOOD, 0, 1, ALPHA), estimate(moved, -100, 400, ALPHA)
    assert here.candidate is not None
    assert here.difference is not None
    assert there.candidate == pytest.approx(-100 + 500 * here.candidate)
    assert there.difference == pytest.approx(tuple(500 * d for d in here.difference))


def test_the_order_in_which_episodes_are_told_does_not_matter() -> None:
    assert estimate(GOOD[::-1], 0, 1, ALPHA) == estimate(GOOD, 0, 1, ALPHA)


def test_a_share_of_stables_mean_is_asked_for_as_a_factor() -> None:
    """Returns in [10, 20], so that the shift counts: candidate minus 0.9 stable is 13.8 - 10.8 = 3."""
    episodes = [replace(e, steps=tuple(replace(s, reward=10 + 10 * s.reward) for s in e.steps)) for e in logged(4000)]
    found = estimate(episodes, 10, 20, ALPHA, factor=0.9)
    assert found.difference is not None
    assert found.difference[0] < 3.0 < found.difference[1]
    assert found.difference[1] - found.difference[0] < 3


def test_values_narrow_the_interval() -> None:
    """Rewards that the observation tells beforehand, for both actions alike."""
    rng, blind, seeing = np.random.default_rng(5), [], []
    for episode in logged(2000, differs=0.6):
        worth = float(rng.random())
        [step] = episode.steps
        blind.append(replace(episode, steps=(replace(step, reward=worth),)))
        seeing.append(replace(episode, steps=(replace(step, reward=worth, value=worth),)))
    widths = [d[1] - d[0] for e in (blind, seeing) if (d := estimate(e, 0, 1, ALPHA).difference)]
    assert widths[1] < 0.9 * widths[0]


@pytest.mark.parametrize(
    ("low", "high", "alpha", "factor"),
    [(0, 0, 0.05, 1), (0, math.inf, 0.05, 1), (0, 1, 0, 1), (0, 1, 1, 1), (0, 1, 0.05, 0)],
)
def test_nonsense_is_an_error(low: float, high: float, alpha: float, factor: float) -> None:
    with pytest.raises(ValueError, match=r"bounds|alpha|factor"):
        estimate(GOOD, low, high, alpha, factor=factor)


def test_rare_exploration_that_never_hit_the_candidates_action_does_not_count_as_overlap() -> None:
    """What was never seen must not be guessed: 2 % of the decisions, on which everything hangs."""
    rng = np.random.default_rng(6)
    episodes = []
    for i in range(600):
        differs, explored = rng.random() < 0.02, rng.random() < 0.01
        step = Step(0.005 if explored else 0.995, float(differs == explored), 1.0, bool(explored))
        if differs and explored:
            continue
        episodes.append(Episode((step,), float(i), i + 0.5))
    found = estimate(episodes, 0, 1, ALPHA)
    assert found.refused or (found.difference is not None and found.difference[0] < -0.015)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_answers_are_right_at_every_look(case: Case) -> None:
    """40 runs of each case of the benchmark: 5 % may err, plus three standard errors of that share."""
    tally = simulate(case, runs=40, looks=(100, 300), seed=9)
    most = 40 * (ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / 40))
    assert tally.missed <= most
    assert tally.missed_candidate <= most


def test_the_benchmarks_truths_are_true() -> None:
    """By playing the policies themselves."""
    for case in CASES[:2]:
        for actions, name in ((case.candidate, "candidate"), (case.stable, "stable")):
            played = replace(case, stable=actions, epsilon=0.0).episodes(np.random.default_rng(1), 4000)
            mean = np.mean([sum(s.reward for s in e.steps) for e in played])
            assert mean == pytest.approx(case.truth(actions), abs=4 * (HIGH - LOW) / 2 / math.sqrt(4000)), name
