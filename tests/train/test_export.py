"""The exported graph acts like the library, whatever the spaces, and knows how to tell when it does not."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.base_class import BaseAlgorithm
from tests.train import tinyenvs
from tests.train.conftest import environment, job_spec, task

from checkrein.api.tasks import TrainingTask
from checkrein.train.algorithms import ALGORITHMS
from checkrein.train.export import to_onnx
from checkrein.train.failures import Failed
from checkrein.train.learning import Seams, Stop, learn
from checkrein.train.model import build
from checkrein.train.observations import gather
from checkrein.train.policy import inputs
from checkrein.train.verification import predict, verify

LSTM: dict[str, Any] = {"lstm_hidden_size": 8}
QUANTILES: dict[str, Any] = {"n_quantiles": 5}
CASES = [
    *[(f"tiny/{o}{a}-v0", "PPO", False, {}) for o, a in product(tinyenvs.OBSERVATIONS, tinyenvs.ACTIONS)],
    *[(f"tiny/{o}{a}-v0", "DQN", False, {}) for o, a in product(tinyenvs.OBSERVATIONS, ("Discrete", "Shifted"))],
    *[(f"tiny/Wide{a}-v0", "PPO", True, {}) for a in tinyenvs.ACTIONS],
    ("tiny/WideDiscrete-v0", "DQN", True, {}),
    ("tiny/BoxBox-v0", "PPO", True, {"use_sde": True}),
    ("Pendulum-v1", "PPO", True, {}),
    *[(f"tiny/Dict{a}-v0", "A2C", False, {}) for a in tinyenvs.ACTIONS],
    ("tiny/WideMultiDiscrete-v0", "A2C", True, {}),
    *[(f"tiny/{o}Box-v0", "TD3", False, {}) for o in ("Box", "Shifted", "MultiDiscrete", "Image", "Planes", "Dict")],
    *[(f"tiny/{o}Box-v0", "SAC", False, {}) for o in ("Box", "MultiBinary", "Camera", "Dict")],
    *[(f"tiny/{o}Box-v0", "DDPG", False, {}) for o in ("Box", "Discrete")],
    *[("tiny/WideBox-v0", name, True, {}) for name in ("SAC", "TD3", "DDPG")],
    ("tiny/BoxBox-v0", "SAC", True, {"use_sde": True}),
    ("tiny/BoxTable-v0", "SAC", False, {}),
    ("tiny/BoxTable-v0", "TD3", False, {"noise_std": 0.5}),
    ("tiny/BoxNumber-v0", "DDPG", False, {"noise_std": 0.5}),
    *[(f"tiny/{o}Discrete-v0", "QRDQN", False, QUANTILES) for o in ("Box", "Dict", "Planes")],
    ("tiny/ShiftedShifted-v0", "QRDQN", False, QUANTILES),
    ("tiny/WideDiscrete-v0", "QRDQN", True, {}),
    *[(f"tiny/{o}Box-v0", "TQC", False, QUANTILES) for o in ("Box", "MultiBinary", "Camera", "Dict")],
    ("tiny/WideBox-v0", "TQC", True, {"n_critics": 3}),
    ("tiny/BoxTable-v0", "TQC", False, {"use_sde": True}),
    *[(f"tiny/Box{a}-v0", "RecurrentPPO", False, LSTM) for a in ("Box", "Discrete", "Shifted", "MultiDiscrete")],
    *[(f"tiny/{o}Discrete-v0", "RecurrentPPO", False, LSTM) for o in tinyenvs.OBSERVATIONS],
    *[(f"tiny/Wide{a}-v0", "RecurrentPPO", True, {"n_lstm_layers": 2, **LSTM}) for a in ("Discrete", "Box")],
    ("tiny/BoxBox-v0", "RecurrentPPO", True, {"enable_critic_lstm": False, **LSTM}),
    ("tiny/BoxBox-v0", "RecurrentPPO", True, {"enable_critic_lstm": False, "shared_lstm": True, **LSTM}),
    ("Pendulum-v1", "TD3", True, {"noise_type": "ornstein-uhlenbeck", "noise_std": 0.1}),
]


SHORT = {"n_steps": 32, "batch_size": 32, "n_epochs": 2}
FEW: dict[str, dict[str, Any]] = {"PPO": SHORT, "A2C": {}, "RecurrentPPO": SHORT}
OFF_POLICY = {"learning_starts": 16, "batch_size": 32, "buffer_size": 1000}


def trained(id_: str, algorithm: str, normalize: bool, hyperparameters: dict[str, Any]) -> tuple[TrainingTask, Any]:
    """A policy that has learnt a little: statistics and biases have moved."""
    spec = {
        "hyperparameters": {**FEW.get(algorithm, OFF_POLICY), **hyperparameters},
        "normalize": {"observation": normalize, "reward": normalize},
        "network": {"hidden": [16]},
    }
    made = task(environment(id_), job_spec(algorithm, 64, algorithm=spec))
    model = build(made)
    learn(model, 64, Seams(10**9, 0, Stop(), None, lambda: None))
    return made, model


@pytest.mark.parametrize(
    "case", CASES, ids=lambda c: f"{c[1]} on {c[0]}{' normalised' if c[2] else ''} {c[3] or ''}".strip()
)
def test_acts_like_the_library(case: tuple[str, str, bool, dict[str, Any]]) -> None:
    made, model = trained(*case)
    onnx = to_onnx(model, ALGORITHMS[made.spec.algorithm.name], made.interface)
    observations = gather(made.environment, 50, seed=3)
    verify(onnx, model, made.interface, observations)
    outputs = run(onnx, made, observations)
    name = made.spec.algorithm.name
    assert ("value" in outputs) is (name not in ("SAC", "TQC")), "whose critics count entropy"
    assert outputs.get("value", np.zeros(100)).shape == (100,)
    expected_scores = {"q_values"} if name in ("DQN", "QRDQN") else {"logits"} if name in FEW else set()
    if made.interface.action.type == "Box" and expected_scores:
        expected_scores = {"mean"} if "use_sde" in case[3] else {"mean", "log_std"}
    scores = {output for output in outputs if not output.startswith("next_state.")}
    assert scores - {"action", "value"} == expected_scores
    states = 0 if name != "RecurrentPPO" else 4 if case[3].get("enable_critic_lstm", True) else 2
    assert outputs.keys() - scores == {f"next_state.{i}" for i in range(states)}


def run(onnx: bytes, made: TrainingTask, observations: list[Any]) -> dict[str, Any]:
    """All outputs, at an episode's start."""
    session = onnxruntime.InferenceSession(onnx)
    names = [o.name for o in session.get_outputs()]
    feeds = inputs(made.interface.observation, observations)
    states = [port for port in session.get_inputs() if port.name.startswith("state.")]
    feeds |= {port.name: np.zeros((len(observations), *port.shape[1:]), np.float32) for port in states}
    return dict(zip(names, session.run(None, feeds), strict=True))


@pytest.mark.parametrize("own", [{}, {"enable_critic_lstm": False}, {"enable_critic_lstm": False, "shared_lstm": True}])
def test_what_a_recurrent_network_remembers_is_what_the_library_does(own: dict[str, Any]) -> None:
    """Over an episode, heads and all: the library's own forward pass, in which nothing of ours has a part."""
    made, model = trained("tiny/WideBox-v0", "RecurrentPPO", True, {**LSTM, "n_lstm_layers": 2, **own})
    session = onnxruntime.InferenceSession(to_onnx(model, ALGORITHMS["RecurrentPPO"], made.interface))
    names = [o.name for o in session.get_outputs()]
    normalizer, policy = model.get_vec_normalize_env(), model.policy
    scale = np.sqrt(normalizer.ret_rms.var + normalizer.epsilon)
    theirs = RNNStates(*[(torch.zeros(2, 1, 8), torch.zeros(2, 1, 8))] * 2)
    ours = {p.name: np.zeros((1, 2, 8), np.float32) for p in session.get_inputs() if p.name.startswith("state.")}
    for observation in gather(made.environment, 20, seed=3):
        feeds = inputs(made.interface.observation, [observation]) | ours
        outputs = dict(zip(names, session.run(None, feeds), strict=True))
        ours = {name: outputs[f"next_{name}"] for name in ours}
        seen = policy.obs_to_tensor(normalizer.normalize_obs(observation[None]))[0]
        with torch.no_grad():
            mean, value, _, theirs = policy(seen, theirs, torch.zeros(1), deterministic=True)
        assert outputs["mean"] == pytest.approx(mean.numpy(), abs=1e-5)
        assert outputs["value"] == pytest.approx(value.numpy().ravel() * scale, rel=1e-4, abs=1e-5)


def test_actions_are_executable_and_of_one_row_too() -> None:
    made, model = trained("tiny/BoxBox-v0", "PPO", False, {})
    scale_up(model, 1000.0)
    onnx = to_onnx(model, ALGORITHMS["PPO"], made.interface)
    observations = gather(made.environment, 50, seed=3)
    actions = run(onnx, made, observations)["action"]
    low, high = np.array([-2.0, 0.0]), np.array([2.0, 0.5])
    assert ((actions >= low) & (actions <= high)).all()
    assert (actions == low).any()
    assert (actions == high).any()
    assert np.array_equal(run(onnx, made, observations[:1])["action"], actions[:1])


def test_value_is_in_the_environment_s_own_rewards() -> None:
    made, model = trained("tiny/WideDiscrete-v0", "PPO", True, {})
    normalizer = model.get_vec_normalize_env()
    onnx = to_onnx(model, ALGORITHMS["PPO"], made.interface)
    observations = gather(made.environment, 20, seed=3)
    seen = model.policy.obs_to_tensor(normalizer.normalize_obs(np.stack(observations)))[0]
    normalised = model.policy.predict_values(seen).detach().numpy().ravel()
    assert normalizer.ret_rms.var > 0.01
    expected = normalised * np.sqrt(normalizer.ret_rms.var + normalizer.epsilon)
    assert run(onnx, made, observations)["value"] == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("algorithm", ["SAC", "TD3"])
def test_squashed_actions_fill_the_bounds_and_no_more(algorithm: str) -> None:
    made, model = trained("tiny/BoxTable-v0", algorithm, False, {})
    for parameter in model.actor.mu.parameters():
        parameter.data *= 1000.0
    observations = gather(made.environment, 50, seed=3)
    actions = run(to_onnx(model, ALGORITHMS[algorithm], made.interface), made, observations)["action"]
    space = tinyenvs.TABLE
    assert actions.shape == (100, 2, 2)
    assert all(space.contains(action) for action in actions)
    assert actions.min(axis=0) == pytest.approx(space.low, abs=1e-6)
    assert actions.max(axis=0) == pytest.approx(space.high, abs=1e-6)


def test_a_critic_tells_what_the_chosen_action_is_worth() -> None:
    made, model = trained("tiny/WideBox-v0", "TD3", True, {})
    normalizer = model.get_vec_normalize_env()
    observations = gather(made.environment, 20, seed=3)
    outputs = run(to_onnx(model, ALGORITHMS["TD3"], made.interface), made, observations)
    seen = model.policy.obs_to_tensor(normalizer.normalize_obs(np.stack(observations)))[0]
    scaled = torch.as_tensor(model.policy.scale_action(outputs["action"]))
    least = torch.stack(model.critic(seen, scaled)).amin(dim=0).detach().numpy().ravel()
    expected = least * np.sqrt(normalizer.ret_rms.var + normalizer.epsilon)
    assert outputs["value"] == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("id_", [f"tiny/Wide{a}-v0" for a in tinyenvs.ACTIONS])
def test_an_export_of_other_weights_is_noticed(id_: str) -> None:
    made, model = trained(id_, "PPO", True, {})
    onnx = to_onnx(model, ALGORITHMS["PPO"], made.interface)
    scale_up(model, -1.0)
    with pytest.raises(Failed, match="acts unlike the trained one") as raised:
        verify(onnx, model, made.interface, gather(made.environment, 200, seed=3))
    assert raised.value.failure.reason == "ExportMismatch"
    assert raised.value.failure.permanent


def scale_up(model: BaseAlgorithm, factor: float) -> None:
    """Multiply what the actor's last layer gives."""
    for parameter in model.policy.action_net.parameters():  # type: ignore[union-attr]
        parameter.data *= factor


def test_the_library_s_actions_are_told_as_the_environment_executes_them() -> None:
    made, model = trained("tiny/ShiftedShifted-v0", "PPO", False, {})
    actions, _ = predict(model, made.interface, gather(made.environment, 50, seed=3))
    assert set(actions.tolist()) <= {5, 6, 7}
