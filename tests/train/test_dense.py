"""What is written beside the graph is computed by the agent's numpy path, and says what the graph says."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from tests.train import tinyenvs
from tests.train.test_export import trained

from checkrein.agent.dense import DenseKernel, difference
from checkrein.agent.kernel import OnnxKernel
from checkrein.shield.arrays import samples
from checkrein.train.algorithms import ALGORITHMS
from checkrein.train.dense import to_dense
from checkrein.train.export import to_onnx

FLAT = ("Box", "Wide", "Discrete", "Shifted", "MultiDiscrete", "MultiBinary")
CASES = [
    *[(f"tiny/{o}{a}-v0", "PPO", False, {}) for o, a in product(FLAT, tinyenvs.ACTIONS) if o != "Wide"],
    *[(f"tiny/{o}{a}-v0", "DQN", False, {}) for o, a in product(FLAT, ("Discrete", "Shifted")) if o != "Wide"],
    *[(f"tiny/Wide{a}-v0", "PPO", True, {}) for a in tinyenvs.ACTIONS],
    ("tiny/WideDiscrete-v0", "DQN", True, {}),
    ("tiny/BoxBox-v0", "PPO", True, {"use_sde": True}),
    *[(f"tiny/Wide{a}-v0", "A2C", True, {}) for a in ("Discrete", "Box")],
    *[(f"tiny/{o}Shifted-v0", "QRDQN", o == "Wide", {"n_quantiles": 7}) for o in ("Box", "Wide", "Discrete")],
]


@pytest.mark.parametrize(
    "case", CASES, ids=lambda c: f"{c[1]} on {c[0]}{' normalised' if c[2] else ''} {c[3] or ''}".strip()
)
def test_the_layers_say_what_the_graph_says(case: tuple[str, str, bool, dict[str, Any]]) -> None:
    made, model = trained(*case)
    graph = OnnxKernel(to_onnx(model, ALGORITHMS[made.spec.algorithm.name], made.interface), made.interface)
    layers = to_dense(model, made.interface)
    assert layers is not None
    observations = samples(made.interface.observation, 200, seed=5)
    assert difference(DenseKernel(layers, made.interface), graph, observations) == ""


@pytest.mark.parametrize(
    ("id_", "algorithm"),
    [
        pytest.param("tiny/ImageDiscrete-v0", "PPO", id="an image, which the library scales"),
        pytest.param("tiny/DictDiscrete-v0", "PPO", id="a Dict"),
        pytest.param("tiny/DictDiscrete-v0", "DQN", id="a Dict, by another algorithm"),
        pytest.param("tiny/BoxBox-v0", "SAC", id="an actor whose actions are squashed"),
        pytest.param("tiny/BoxBox-v0", "TD3", id="likewise, of another algorithm"),
        pytest.param("tiny/BoxDiscrete-v0", "RecurrentPPO", id="a network that remembers"),
    ],
)
def test_of_other_networks_there_are_no_layers(id_: str, algorithm: str) -> None:
    made, model = trained(id_, algorithm, False, {})
    assert to_dense(model, made.interface) is None


def test_the_same_policy_is_the_same_file() -> None:
    """A job that was resumed publishes the bytes of one that never was."""
    made, model = trained("tiny/WideDiscrete-v0", "PPO", True, {})
    assert len({to_dense(model, made.interface) for _ in range(20)}) == 1
