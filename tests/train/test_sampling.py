"""A policy that acts by chance is evaluated so: by its distribution, and by its episode's own random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.train import tinyenvs
from tests.train.conftest import environment, exported, job_spec, task
from tests.train.test_export import run, trained

from checkrein.train.evaluation import evaluate
from checkrein.train.failures import Failed
from checkrein.train.model import build
from checkrein.train.observations import gather
from checkrein.train.policy import Turn
from checkrein.train.seeds import acting_generator
from checkrein.wrappers.environments import make_environment

DRAWS = 4000


@pytest.mark.parametrize("action", tinyenvs.ACTIONS)
def test_every_action_drawn_can_be_executed(action: str) -> None:
    made, model = trained(f"tiny/Box{action}-v0", "PPO", False, {})
    acting, _ = exported(made, model, "Stochastic")
    env = make_environment(made.environment)
    observations = gather(made.environment, 50, seed=3)
    actions = acting.act([Turn(o, acting_generator(i)) for i, o in enumerate(observations)])
    assert all(env.action_space.contains(a) for a in actions)


def test_discrete_actions_are_as_frequent_as_the_network_says() -> None:
    made, model = trained("tiny/BoxShifted-v0", "PPO", False, {})
    acting, onnx = exported(made, model, "Stochastic")
    observation = gather(made.environment, 1, seed=3)[0]
    logits = run(onnx, made, [observation])["logits"][0].astype(np.float64)
    wanted = np.exp(logits) / np.exp(logits).sum()
    actions = np.array(acting.act([Turn(observation, acting_generator(i)) for i in range(DRAWS)]))
    found = np.array([(actions == value).mean() for value in (5, 6, 7)])
    assert found == pytest.approx(wanted, abs=4 * np.sqrt(0.25 / DRAWS))


def test_continuous_actions_have_the_mean_and_the_spread_that_the_network_says() -> None:
    made, model = trained("tiny/BoxBox-v0", "PPO", False, {})
    model.policy.log_std.data[:] = -3.0
    acting, onnx = exported(made, model, "Stochastic")
    observation = gather(made.environment, 1, seed=3)[0]
    mean = run(onnx, made, [observation])["mean"][0]
    actions = np.array(acting.act([Turn(observation, acting_generator(i)) for i in range(DRAWS)]))[:, 0]
    assert actions.mean() == pytest.approx(mean[0], abs=4 * np.exp(-3.0) / np.sqrt(DRAWS))
    assert actions.std() == pytest.approx(np.exp(-3.0), rel=0.1)


def test_an_episode_does_not_depend_on_what_is_played_beside_it() -> None:
    made, model = trained("tiny/WideDiscrete-v0", "PPO", True, {})
    acting, _ = exported(made, model, "Stochastic")
    seeds = list(range(2**30, 2**30 + 30))
    together = evaluate(made.environment, acting, seeds).returns
    assert together == [evaluate(made.environment, acting, [seed]).returns[0] for seed in seeds]
    certain, _ = exported(made, model, "Deterministic")
    assert together != evaluate(made.environment, certain, seeds).returns


@pytest.mark.parametrize(
    ("algorithm", "hyperparameters", "why"),
    [
        pytest.param("DQN", {}, "spec.algorithm.acting: DQN has no distribution", id="values, no distribution"),
        pytest.param("PPO", {"use_sde": True}, "use_sde: with it the spread depends", id="a spread of the state's"),
        pytest.param("A2C", {"use_sde": True}, "use_sde: with it the spread depends", id="likewise, A2C"),
        pytest.param(
            "SAC", {}, "squashed by tanh, cannot be told; set Deterministic", id="a distribution of another kind"
        ),
        pytest.param("TD3", {}, "TD3 has no distribution", id="one action, TD3"),
        pytest.param("DDPG", {}, "DDPG has no distribution", id="one action, DDPG"),
    ],
)
def test_what_cannot_act_by_chance_is_not_trained_to(algorithm: str, hyperparameters: dict[str, Any], why: str) -> None:
    spec = {"hyperparameters": hyperparameters, "acting": "Stochastic"}
    id_ = "tiny/BoxDiscrete-v0" if algorithm == "DQN" else "tiny/BoxBox-v0"
    with pytest.raises(Failed, match=why) as raised:
        build(task(environment(id_), job_spec(algorithm, 64, algorithm=spec)))
    assert raised.value.failure.permanent
