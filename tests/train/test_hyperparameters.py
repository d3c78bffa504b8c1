"""What the library would not take is refused before a step is spent, by a sentence that names it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.train.conftest import environment, job_spec, task

from checkrein.train.algorithms import ALGORITHMS
from checkrein.train.failures import Failed
from checkrein.train.hyperparameters import OWNED, check
from checkrein.train.model import build


@pytest.mark.parametrize(
    ("name", "given"),
    [
        pytest.param("PPO", {"n_steps": 32, "gamma": 0.9, "normalize_advantage": False}, id="numbers and switches"),
        pytest.param("PPO", {"gamma": 1, "learning_rate": 0}, id="whole numbers where fractions are meant"),
        pytest.param("PPO", {"target_kl": None, "clip_range_vf": 0.2}, id="optional ones"),
        pytest.param("DQN", {"train_freq": [1, "episode"], "learning_starts": 0}, id="a pair"),
        pytest.param("A2C", {"use_rms_prop": False, "rms_prop_eps": 1e-6}, id="an optimiser"),
        pytest.param("SAC", {"ent_coef": "auto_0.1", "target_entropy": -2}, id="a number or a word"),
        pytest.param("TD3", {"noise_type": "ornstein-uhlenbeck", "noise_std": 0.2, "policy_delay": 3}, id="noise"),
        pytest.param("DDPG", {"noise_std": 0}, id="noise of the usual type"),
        pytest.param("QRDQN", {"n_quantiles": 50, "max_grad_norm": None}, id="quantiles"),
        pytest.param("TQC", {"n_critics": 3, "top_quantiles_to_drop_per_net": 0}, id="critics and what they drop"),
        pytest.param("RecurrentPPO", {"lstm_hidden_size": 64, "shared_lstm": False}, id="a memory"),
    ],
)
def test_accepted_as_given(name: str, given: dict[str, Any]) -> None:
    accepted = check(ALGORITHMS[name], given)
    assert {k: list(v) if isinstance(v, tuple) else v for k, v in accepted.items()} == given


def test_a_linear_schedule_falls_to_zero_over_the_budget() -> None:
    accepted = check(ALGORITHMS["PPO"], {"learning_rate": "lin_0.003", "clip_range": "lin_2e-1"})
    assert [accepted["learning_rate"](left) for left in (1.0, 0.5, 0.0)] == pytest.approx([0.003, 0.0015, 0.0])
    assert accepted["clip_range"](1.0) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("algorithm", "name", "value", "words"),
    [
        pytest.param("PPO", "n_stepps", 32, "did you mean n_steps", id="misspelt"),
        pytest.param("PPO", "frobnication", 1, "it has learning_rate", id="like nothing there is"),
        pytest.param("PPO", "buffer_size", 1, "no such hyperparameter", id="of another algorithm"),
        pytest.param("PPO", "n_steps", "32", "the library takes int", id="text for a number"),
        pytest.param("PPO", "n_steps", 3.5, "the library takes int", id="fraction for a whole number"),
        pytest.param("PPO", "n_steps", True, "the library takes int", id="switch for a number"),
        pytest.param("PPO", "n_steps", 0, "at least 1", id="too small"),
        pytest.param("PPO", "gamma", 1.5, "between 0 and 1", id="too large"),
        pytest.param("PPO", "gamma", "lin_0.9", "the library takes float", id="schedule where none is taken"),
        pytest.param("PPO", "learning_rate", "lin_fast", "lin_0.001", id="schedule without a number"),
        pytest.param("PPO", "learning_rate", "exp_0.1", "lin_0.001", id="unknown schedule"),
        pytest.param("PPO", "learning_rate", "lin_-0.1", "lin_0.001", id="negative schedule"),
        pytest.param("PPO", "learning_rate", -1, "at least 0", id="negative rate"),
        pytest.param("DQN", "train_freq", [1, 2], "the library takes", id="pair of the wrong kind"),
        pytest.param("TD3", "policy_delay", 0, "at least 1", id="an actor that never learns"),
        pytest.param("TD3", "noise_type", "pink", "normal", id="noise of an unknown type"),
        pytest.param("TD3", "noise_std", -0.1, "at least 0", id="noise of no spread there is"),
        pytest.param("TD3", "use_sde", True, "no such hyperparameter", id="exploration of other algorithms"),
        pytest.param("PPO", "lstm_hidden_size", 8, "no such hyperparameter", id="a memory where there is none"),
        pytest.param("RecurrentPPO", "n_lstm_layers", 0, "at least 1", id="a memory of no layer"),
        pytest.param("QRDQN", "n_quantile", 5, "did you mean n_quantiles", id="misspelt, of the network"),
        pytest.param("DQN", "noise_std", 0.1, "no such hyperparameter", id="noise on what is no number"),
        *[pytest.param("PPO", name, 1, mend, id=f"{name} belongs to the spec") for name, mend in OWNED.items()],
    ],
)
def test_refused_with_the_mend(algorithm: str, name: str, value: Any, words: str) -> None:
    with pytest.raises(Failed) as raised:
        check(ALGORITHMS[algorithm], {name: value})
    failure = raised.value.failure
    assert failure.reason == "InvalidHyperparameters"
    assert failure.permanent
    assert failure.message.startswith(f"spec.algorithm.hyperparameters.{name}: ")
    assert words in failure.message


def test_noise_of_a_type_needs_a_spread() -> None:
    with pytest.raises(Failed, match="noise_std: must go with noise_type"):
        check(ALGORITHMS["TD3"], {"noise_type": "normal"})


@pytest.mark.parametrize(
    ("environment_id", "spec", "reason", "words"),
    [
        pytest.param(
            "tiny/BoxBox-v0", {"name": "DQN"}, "AlgorithmMisfit", "spec.algorithm.name", id="DQN on continuous actions"
        ),
        *[
            pytest.param(
                "tiny/BoxDiscrete-v0", {"name": name}, "AlgorithmMisfit", "use PPO or A2C or DQN or QRDQN", id=name
            )
            for name in ("SAC", "TD3", "DDPG")
        ],
        pytest.param(
            "tiny/BoxBox-v0",
            {"name": "SAC", "algorithm": {"hyperparameters": {"ent_coef": "plenty"}}},
            "InvalidHyperparameters",
            "SAC refuses them",
            id="a word that the library does not know",
        ),
        pytest.param(
            "tiny/BoxDiscrete-v0",
            {"algorithm": {"hyperparameters": {"n_steps": 1}}},
            "InvalidHyperparameters",
            "PPO refuses them",
            id="a combination that only the constructor judges",
        ),
        pytest.param(
            "tiny/DiscreteDiscrete-v0",
            {"algorithm": {"normalize": {"observation": True}}},
            "InvalidHyperparameters",
            "spec.algorithm.normalize.observation",
            id="normalisation of what has no scale",
        ),
        pytest.param(
            "tiny/ScalelessDiscrete-v0",
            {"algorithm": {"normalize": {"observation": True}}},
            "InvalidHyperparameters",
            "no numbers to scale",
            id="normalisation of a Dict whose members have no scale",
        ),
        pytest.param(
            "tiny/CrossedDiscrete-v0",
            {},
            "AlgorithmMisfit",
            "same order of dimensions",
            id="images whose channels come first and last",
        ),
    ],
)
def test_a_spec_that_cannot_be_trained_is_refused(environment_id: str, spec: Any, reason: str, words: str) -> None:
    with pytest.raises(Failed) as raised:
        build(task(environment(environment_id), job_spec(**spec)))
    assert raised.value.failure.reason == reason
    assert raised.value.failure.permanent
    assert words in raised.value.failure.message


def test_an_environment_unlike_its_probe_is_refused() -> None:
    probed = task(environment("tiny/BoxDiscrete-v0"), job_spec())
    changed = probed.model_copy(update={"environment": environment("tiny/WideDiscrete-v0")})
    with pytest.raises(Failed) as raised:
        build(changed)
    assert raised.value.failure.reason == "EnvironmentChanged"


def test_the_spec_s_network_is_the_one_that_learns() -> None:
    algorithm = {"network": {"hidden": [7, 5], "activation": "relu"}}
    model = build(task(environment("tiny/BoxDiscrete-v0"), job_spec(algorithm=algorithm)))
    assert "in_features=7, out_features=5" in str(model.policy)
    assert "ReLU" in str(model.policy)
    assert "Tanh" not in str(model.policy)
