"""Learning: known tasks are learnt, checkpoints are seams, ends are told."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from tests.train.conftest import environment, exported, job_spec, task

from checkrein.api.tasks import TrainingTask
from checkrein.train.algorithms import ALGORITHMS
from checkrein.train.evaluation import evaluate
from checkrein.train.failures import Failed
from checkrein.train.learning import Seams, Stop, learn
from checkrein.train.model import build, start_over
from checkrein.train.seeds import evaluation_seeds
from checkrein.train.state import Files, capture, restore

pytestmark = pytest.mark.learning

PPO_QUICK = {"n_steps": 16, "batch_size": 64, "n_epochs": 10, "learning_rate": 0.003, "gamma": 0.0}
DQN_QUICK = {"learning_starts": 100, "gamma": 0.0, "learning_rate": 0.003, "target_update_interval": 100}
A2C_QUICK = {"n_steps": 8, "learning_rate": 0.003, "gamma": 0.0}
CONTINUOUS_QUICK = {"learning_starts": 200, "gamma": 0.0, "learning_rate": 0.003, "batch_size": 64, "train_freq": 2}
SAC_QUICK = CONTINUOUS_QUICK | {"ent_coef": 0.05}
TD3_QUICK = CONTINUOUS_QUICK | {"noise_std": 0.3}
QRDQN_QUICK = DQN_QUICK | {"n_quantiles": 10, "exploration_fraction": 0.5}
TQC_QUICK = SAC_QUICK | {"n_quantiles": 10}
RECURRENT_QUICK = {
    "n_steps": 16,
    "batch_size": 128,
    "n_epochs": 10,
    "learning_rate": 0.01,
    "gamma": 0.0,
    "lstm_hidden_size": 16,
}
ON_POLICY = ("PPO", "A2C", "RecurrentPPO")
EVERY = 200


def endless() -> Seams:
    return Seams(10**9, 0, Stop(), None, lambda: None)


@pytest.mark.parametrize(
    ("name", "id_", "steps", "hyperparameters"),
    [
        pytest.param("PPO", "tiny/DiscreteDiscrete-v0", 3000, PPO_QUICK, id="PPO, discrete actions"),
        pytest.param("PPO", "tiny/BoxBox-v0", 6000, PPO_QUICK, id="PPO, continuous actions"),
        pytest.param("PPO", "tiny/MultiBinaryMultiBinary-v0", 4000, PPO_QUICK, id="PPO, binary actions"),
        pytest.param("DQN", "tiny/DiscreteDiscrete-v0", 1500, DQN_QUICK, id="DQN"),
        pytest.param("DQN", "tiny/ShiftedShifted-v0", 1500, DQN_QUICK, id="DQN, spaces that do not start at 0"),
        pytest.param("PPO", "tiny/ToldDiscrete-v0", 3000, PPO_QUICK, id="PPO, a Dict"),
        pytest.param("DQN", "tiny/ToldDiscrete-v0", 1500, DQN_QUICK, id="DQN, a Dict"),
        pytest.param("PPO", "tiny/Bright-v0", 1000, PPO_QUICK | {"learning_rate": 0.0003}, id="PPO, images"),
        pytest.param("DQN", "tiny/Bright-v0", 600, DQN_QUICK | {"learning_rate": 0.0003}, id="DQN, images"),
        pytest.param("A2C", "tiny/DiscreteDiscrete-v0", 5000, A2C_QUICK, id="A2C"),
        pytest.param("SAC", "tiny/BoxBox-v0", 1500, SAC_QUICK, id="SAC"),
        pytest.param("TD3", "tiny/BoxBox-v0", 2500, TD3_QUICK, id="TD3"),
        pytest.param("DDPG", "tiny/BoxBox-v0", 2500, TD3_QUICK, id="DDPG"),
        pytest.param("QRDQN", "tiny/DiscreteDiscrete-v0", 1500, QRDQN_QUICK, id="QRDQN"),
        pytest.param("TQC", "tiny/BoxBox-v0", 1500, TQC_QUICK, id="TQC"),
        pytest.param("RecurrentPPO", "tiny/Recall-v0", 6000, RECURRENT_QUICK, id="RecurrentPPO, what was seen before"),
    ],
)
def test_learns_a_task_with_a_known_answer(name: str, id_: str, steps: int, hyperparameters: Any) -> None:
    algorithm = {"hyperparameters": hyperparameters}
    made = task(
        environment(id_), job_spec(name, steps, algorithm=algorithm, environments=8 if name in ON_POLICY else 1)
    )
    model = build(made)
    learn(model, steps, endless())
    played = evaluate(made.environment, exported(made, model)[0], evaluation_seeds("u", 1, 50))
    assert sum(played.returns) / 50 >= 3.8
    assert set(played.lengths) == {4}


CONTINUOUS = {"learning_starts": 50, "batch_size": 32, "train_freq": 4, "buffer_size": 300}
BROWNIAN = {"noise_type": "ornstein-uhlenbeck", "noise_std": 0.5}
RECURRENT = {"n_steps": 16, "batch_size": 32, "n_epochs": 2, "lstm_hidden_size": 8}
RESUMED = [
    pytest.param("PPO", {"n_steps": 16, "batch_size": 32, "n_epochs": 2}, False, id="PPO"),
    pytest.param(
        "PPO", {"n_steps": 16, "batch_size": 32, "learning_rate": "lin_0.01"}, True, id="PPO, normalised, schedule"
    ),
    pytest.param("PPO", {"n_steps": 16, "batch_size": 32, "use_sde": True}, False, id="PPO, state-dependent noise"),
    pytest.param("DQN", {"learning_starts": 50, "target_update_interval": 70}, True, id="DQN, normalised"),
    pytest.param(
        "DQN", {"learning_starts": 50, "n_steps": 3, "buffer_size": 300}, False, id="DQN, 3 steps, buffer full"
    ),
    pytest.param("A2C", {"learning_rate": "lin_0.01"}, True, id="A2C, normalised, schedule"),
    pytest.param("SAC", {**CONTINUOUS, "learning_rate": "lin_0.001"}, True, id="SAC, normalised, schedule"),
    pytest.param("SAC", {**CONTINUOUS, "use_sde": True, "ent_coef": 0.1}, False, id="SAC, state-dependent noise"),
    pytest.param("TD3", {**CONTINUOUS, "noise_std": 0.2, "policy_delay": 3}, True, id="TD3, normalised, noise"),
    pytest.param("QRDQN", {"learning_starts": 50, "target_update_interval": 70}, True, id="QRDQN, normalised"),
    pytest.param("TQC", {**CONTINUOUS, "top_quantiles_to_drop_per_net": 1}, True, id="TQC, normalised"),
    pytest.param("TQC", {**CONTINUOUS, "use_sde": True, "ent_coef": 0.1}, False, id="TQC, state-dependent noise"),
    pytest.param("RecurrentPPO", {**RECURRENT, "learning_rate": "lin_0.01"}, True, id="RecurrentPPO, normalised"),
    pytest.param("RecurrentPPO", {**RECURRENT, "enable_critic_lstm": False}, False, id="RecurrentPPO, one LSTM"),
    pytest.param("DDPG", {**CONTINUOUS, **BROWNIAN, "n_steps": 3}, False, id="DDPG, 3 steps, noise that remembers"),
]


@pytest.mark.parametrize(("name", "hyperparameters", "normalize"), RESUMED)
def test_resuming_at_any_checkpoint_ends_as_if_never_interrupted(
    name: str, hyperparameters: Any, normalize: bool
) -> None:
    continuous = name in ("SAC", "TD3", "DDPG", "TQC") or hyperparameters.get("use_sde")
    id_ = "tiny/WideBox-v0" if continuous else "tiny/WideDiscrete-v0"
    assert_resumes(id_, name, hyperparameters, normalize)


@pytest.mark.parametrize(
    ("name", "hyperparameters"),
    [
        pytest.param("PPO", {"n_steps": 16, "batch_size": 32, "n_epochs": 1}, id="PPO"),
        pytest.param("DQN", {"learning_starts": 50, "buffer_size": 300, "train_freq": 16}, id="DQN, buffer full"),
    ],
)
def test_a_dict_s_statistics_and_replay_are_resumed_too(name: str, hyperparameters: Any) -> None:
    assert_resumes("tiny/DictDiscrete-v0", name, hyperparameters, True)


def assert_resumes(id_: str, name: str, hyperparameters: Any, normalize: bool) -> None:
    """Resume at each checkpoint of a run, and compare the ends."""
    algorithm = {"hyperparameters": hyperparameters, "normalize": {"observation": normalize, "reward": normalize}}
    made = task(environment(id_), job_spec(name, 1000, algorithm=algorithm, environments=2, seed=5))
    whole, saved = run(made)
    assert [step // EVERY for step in saved] == [1, 2, 3, 4]
    for files in saved.values():
        resumed, _ = run(made, files)
        assert differing(whole, resumed) == []


def run(made: TrainingTask, files: Files | None = None) -> tuple[BaseAlgorithm, dict[int, Files]]:
    """Train to the end of the budget; gives the checkpoints by step."""
    algorithm = ALGORITHMS[made.spec.algorithm.name]
    model, saved = build(made), {}

    def save() -> None:
        saved[model.num_timesteps] = capture(model, algorithm)

    if files is not None:
        restore(model, algorithm, files)
    learn(model, made.spec.budget.steps, Seams(EVERY, made.spec.seed, Stop(), None, save))
    return model, saved


def differing(one: BaseAlgorithm, other: BaseAlgorithm) -> list[str]:
    """Names of what is not bit for bit the same."""
    a, b = (m.policy.state_dict() | {v: getattr(m, v) for v in m._get_torch_save_params()[1]} for m in (one, other))
    names = [name for name in a if not torch.equal(a[name], b[name])]
    return names + (["num_timesteps"] if one.num_timesteps != other.num_timesteps else [])


def test_copies_go_on_out_of_step_after_a_seam() -> None:
    spec = environment("bad/NeverEnds-v0", safety={"maxEpisodeSteps": 20})
    model = build(task(spec, job_spec("PPO", environments=8)))
    model.ep_info_buffer = deque([{"r": 20.0, "l": 20, "t": 1.0}])
    start_over(model, seed=0)
    copies = model.get_env()
    assert copies is not None
    first: dict[int, int] = {}
    for step in range(1, 21):
        _, _, dones, infos = copies.step(np.zeros(8, np.int64))
        for copy in np.flatnonzero(dones):
            first.setdefault(int(copy), step)
            assert infos[copy]["TimeLimit.truncated"]
            assert "episode" not in infos[copy] or step == 20
    assert set(first) == set(range(8))
    assert len(set(first.values())) > 4


@pytest.mark.parametrize(
    ("name", "action", "hyperparameters"),
    [("PPO", "Discrete", {}), ("DQN", "Discrete", {}), ("SAC", "Box", {"train_freq": 8})],
)
def test_the_seed_decides_the_run(name: str, action: str, hyperparameters: Any) -> None:
    algorithm = {"hyperparameters": hyperparameters}
    first, second, other = (
        run(task(environment(f"tiny/Box{action}-v0"), job_spec(name, 500, seed=seed, algorithm=algorithm)))[0]
        for seed in (1, 1, 2)
    )
    assert differing(first, second) == []
    assert differing(first, other) != []


@pytest.mark.parametrize("name", ["PPO", "DQN"])
def test_a_network_that_becomes_nan_is_told_as_divergence(name: str) -> None:
    few = {"PPO": {"n_steps": 16, "batch_size": 16}, "DQN": {"learning_starts": 10}}[name]
    made = task(environment("bad/NaNReward-v0"), job_spec(name, 10_000, algorithm={"hyperparameters": few}))
    with pytest.raises(Failed, match="learning_rate") as raised:
        learn(build(made), 10_000, endless())
    assert raised.value.failure.reason == "Diverged"
    assert raised.value.failure.permanent


def test_an_environment_that_fails_in_training_may_do_better_next_time() -> None:
    made = task(
        environment("bad/RaisesLater-v0"), job_spec("PPO", 10_000, algorithm={"hyperparameters": {"n_steps": 64}})
    )
    with pytest.raises(Failed, match="lost its connection") as raised:
        learn(build(made), 10_000, endless())
    assert raised.value.failure.reason == "TrainingFailed"
    assert not raised.value.failure.permanent


def test_the_deadline_ends_training_within_a_rollout() -> None:
    made = task(environment("tiny/BoxDiscrete-v0"), job_spec("PPO", 10**9))
    model = build(made)
    learn(model, 10**9, Seams(10**9, 0, Stop(), time.monotonic() + 0.5, lambda: None))
    assert 0 < model.num_timesteps < 10**9


def test_a_request_to_stop_ends_training_at_the_next_step() -> None:
    stop = Stop()
    stop.request()
    model = build(task(environment("tiny/BoxDiscrete-v0"), job_spec("PPO", 10**9)))
    learn(model, 10**9, Seams(10**9, 0, stop, None, lambda: None))
    assert model.num_timesteps == 1
