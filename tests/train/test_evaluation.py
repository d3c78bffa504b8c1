"""Evaluation counts the episodes it was asked for, each to its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from tests.train.conftest import environment

from checkrein.train.evaluation import MOST_COPIES, evaluate
from checkrein.train.failures import Failed
from checkrein.train.policy import Turn
from checkrein.train.seeds import HALF, evaluation_seeds, training_seed
from checkrein.train.seeds import MOST_COPIES as MOST_TRAINED

SEEDS: Counter[int] = Counter()


class SeedLength(gymnasium.Env[Any, Any]):
    """An episode is as long as its seed's last two digits say, and pays as much as the seed."""

    observation_space: spaces.Space[Any] = spaces.Discrete(2)
    action_space: spaces.Space[Any] = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        assert seed is not None
        SEEDS[seed] += 1
        self.seed, self.left = seed, 1 + seed % 100
        return 0, {}

    def step(self, action: Any) -> Any:
        self.left -= 1
        return 0, float(self.seed * (self.left == 0)), self.left == 0, False, {}


gymnasium.register("test/SeedLength-v0", SeedLength)


class Zero:
    """Takes action 0."""

    def act(self, turns: Sequence[Turn]) -> Any:
        return np.zeros(len(turns), np.int64)


@pytest.mark.parametrize("episodes", [1, MOST_COPIES - 1, MOST_COPIES, MOST_COPIES + 1, 300])
def test_every_seed_is_played_once_and_to_its_end(episodes: int) -> None:
    SEEDS.clear()
    seeds = list(range(1000, 1000 + episodes))
    played = evaluate(environment("test/SeedLength-v0"), Zero(), seeds)
    assert Counter(seeds) == SEEDS
    assert played.returns == [float(seed) for seed in seeds]
    assert played.lengths == [1 + seed % 100 for seed in seeds]


def test_a_reward_that_is_no_number_is_told_with_its_episode() -> None:
    with pytest.raises(Failed, match="evaluation episode 0: step 3 gave reward nan") as raised:
        evaluate(environment("bad/NaNReward-v0"), Zero(), [1])
    assert raised.value.failure.permanent


def test_evaluation_seeds_are_distinct_repeatable_and_of_their_attempt() -> None:
    seeds = evaluation_seeds("uid", 1, 5000)
    assert len(set(seeds)) == 5000
    assert seeds == evaluation_seeds("uid", 1, 5000)
    assert seeds[:10] == evaluation_seeds("uid", 1, 10)
    assert not set(seeds) & set(evaluation_seeds("uid", 2, 5000))
    assert not set(seeds) & set(evaluation_seeds("uid2", 1, 5000))


def test_training_and_evaluation_never_share_a_seed() -> None:
    trained = [training_seed(seed, step) for seed in range(50) for step in range(0, 10**6, 10**4)]
    assert min(trained) >= 0
    assert max(trained) + MOST_TRAINED <= HALF
    evaluated = evaluation_seeds("uid", 1, 5000)
    assert min(evaluated) >= HALF
    assert max(evaluated) < 2 * HALF
