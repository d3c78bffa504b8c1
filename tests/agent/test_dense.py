"""The numpy path: right where it is used, and not used where it is wrong or makes no sense."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save
from tests.agent import networks
from tests.agent.graphs import CARTPOLE, CONTINUOUS
from torch import Tensor, nn

from checkrein.agent.dense import DenseKernel, difference
from checkrein.agent.densefile import DenseError
from checkrein.agent.kernel import OnnxKernel
from checkrein.api.spaces import Interface
from checkrein.shield.arrays import samples

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU, "leaky_relu": nn.LeakyReLU, "silu": nn.SiLU}
Tensors = dict[str, np.ndarray[Any, Any]]


class Actor(nn.Module):
    """Actor and critic for CartPole, of any widths."""

    def __init__(self, activation: str, actor: list[int], critic: list[int]) -> None:
        super().__init__()
        self.actor, self.critic = (
            nn.Sequential(*self._layers(ACTIVATIONS[activation], [4, *hidden, outputs]))
            for hidden, outputs in ((actor, 2), (critic, 1))
        )

    @staticmethod
    def _layers(activation: type[nn.Module], widths: list[int]) -> list[nn.Module]:
        pairs = [[nn.Linear(a, b), activation()] for a, b in pairwise(widths)]
        return [layer for pair in pairs for layer in pair][:-1]

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Action, logits, value."""
        logits = self.actor(observation)
        return logits.argmax(dim=1), logits, self.critic(observation).flatten()


def file(tensors: Tensors, settings: dict[str, Any]) -> bytes:
    """As a trainer writes it."""
    return save(tensors, {"checkrein.dev/dense/v1": json.dumps(settings)})


def written(activation: str, actor: list[int], critic: list[int]) -> tuple[OnnxKernel, Tensors, dict[str, Any]]:
    """The graph, and what a trainer would write of the layers."""
    torch.manual_seed(1)
    network = Actor(activation, actor, critic).eval()
    graph = networks.exported(network, {"observation": torch.zeros(2, 4)}, ["action", "logits", "value"])
    tensors = {
        f"{tower}.{int(position) // 2}.{name}": parameter.detach().numpy()
        for full, parameter in network.named_parameters()
        for tower, position, name in [full.split(".")]
    }
    metadata = {"head": "logits", "activation": activation}
    return OnnxKernel(graph, CARTPOLE), {**tensors, "value_scale": np.ones(1)}, metadata


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    ("actor", "critic"),
    [
        pytest.param([64, 64], [64, 64], id="alike"),
        pytest.param([200], [100], id="too wide to be one"),
        pytest.param([8], [8, 8], id="of different depth"),
        pytest.param([], [], id="without hidden layers"),
    ],
)
def test_it_says_what_the_graph_says(activation: str, actor: list[int], critic: list[int]) -> None:
    graph, tensors, metadata = written(activation, actor, critic)
    kernel = DenseKernel(file(tensors, metadata), CARTPOLE)
    assert kernel.initial_state == ()
    assert difference(kernel, graph, samples(CARTPOLE.observation, 300, seed=2)) == ""


def test_what_a_decision_gave_stays_when_others_follow_in_many_threads() -> None:
    _, tensors, metadata = written("tanh", [64, 64], [64, 64])
    kernel = DenseKernel(file(tensors, metadata), CARTPOLE)
    seen = [o for o in samples(CARTPOLE.observation, 50, seed=2) if isinstance(o, np.ndarray)]
    alone = [(o.logits, o.value) for o in map(kernel.run, seen)]
    with ThreadPoolExecutor(8) as pool:
        together = [(o.logits, o.value) for o in pool.map(kernel.run, seen * 40)]
    for (mine, value), (other, their_value) in zip(alone * 40, together, strict=True):
        assert np.array_equal(mine, other)  # type: ignore[arg-type]
        assert value == their_value


def one_weight(tensors: Tensors, metadata: dict[str, Any]) -> None:
    tensors["actor.1.weight"] = tensors["actor.1.weight"].copy()
    tensors["actor.1.weight"][0, 0] += 0.01


def one_bias(tensors: Tensors, metadata: dict[str, Any]) -> None:
    tensors["critic.2.bias"] = tensors["critic.2.bias"] + np.float32(1e-4)


def another_activation(tensors: Tensors, metadata: dict[str, Any]) -> None:
    metadata["activation"] = "relu"


def another_scale(tensors: Tensors, metadata: dict[str, Any]) -> None:
    tensors["value_scale"] = np.array([2.0])


def normalised(tensors: Tensors, metadata: dict[str, Any]) -> None:
    tensors |= {"observation.mean": np.zeros(4), "observation.spread": np.ones(4)}
    metadata["clip"] = 1.0


@pytest.mark.parametrize("change", [one_weight, one_bias, another_activation, another_scale, normalised])
def test_a_file_that_says_something_else_than_the_graph_is_noticed(
    change: Callable[[Tensors, dict[str, Any]], None],
) -> None:
    graph, tensors, metadata = written("tanh", [16, 16], [16, 16])
    change(tensors, metadata)
    found = difference(DenseKernel(file(tensors, metadata), CARTPOLE), graph, samples(CARTPOLE.observation, 300, 2))
    assert " on observation " in found


BROKEN: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a list as an activation": ({}, {"activation": ["tanh"]}, "activation is"),
    "a list as a head": ({}, {"head": ["logits"]}, "head is"),
    "an unknown activation": ({}, {"activation": "gelu"}, "activation is 'gelu'"),
    "a head of other actions": ({}, {"head": "mean"}, "head is 'mean'"),
    "a layer is missing": ({"actor.1.weight": None, "actor.1.bias": None}, {}, "actor has 1 layers and 16 outputs"),
    "a bias is missing": ({"actor.0.bias": None}, {}, "actor.0.bias is missing"),
    "a layer that does not follow": ({"actor.1.weight": np.zeros((16, 9), np.float32)}, {}, r"float32\[16, 9\]"),
    "too many actions": (
        {"actor.2.weight": np.zeros((3, 16), np.float32), "actor.2.bias": np.zeros(3, np.float32)},
        {},
        "3 outputs; it needs 2",
    ),
    "double precision": ({"actor.0.weight": np.zeros((16, 4))}, {}, "float64"),
    "a scalar as a weight": ({"actor.0.weight": np.array(1, np.float32)}, {}, "actor.0.weight"),
    "a weight that is no number": ({"critic.0.bias": np.full(16, np.nan, np.float32)}, {}, "finite"),
    "no critic": ({f"critic.{i}.{n}": None for i in range(3) for n in ("weight", "bias")}, {}, "critic has 0"),
    "no scale": ({"value_scale": None}, {}, "value_scale is missing"),
    "statistics without a clip": (
        {"observation.mean": np.zeros(4), "observation.spread": np.ones(4)},
        {},
        "clip is None",
    ),
    "a spread of zero": (
        {"observation.mean": np.zeros(4), "observation.spread": np.zeros(4)},
        {"clip": 10.0},
        "above zero",
    ),
    "a spread for what has none": ({"log_std": np.zeros(0, np.float32)}, {}, "log_std"),
    "something else too": ({"mask": np.ones(2, np.float32)}, {}, "unknown tensors"),
    "a layer that is too large": (
        {"actor.0.weight": np.zeros((70_000, 4), np.float32), "actor.0.bias": np.zeros(70_000, np.float32)},
        {},
        "more than",
    ),
}


@pytest.mark.parametrize(("tensors", "metadata", "why"), BROKEN.values(), ids=BROKEN.keys())
def test_a_file_that_makes_no_sense_is_refused(tensors: dict[str, Any], metadata: dict[str, Any], why: str) -> None:
    _, good, said = written("tanh", [16, 16], [16, 16])
    changed = {name: tensor for name, tensor in {**good, **tensors}.items() if tensor is not None}
    with pytest.raises(DenseError, match=why):
        DenseKernel(file(changed, {**said, **metadata}), CARTPOLE)


GOOD = written("tanh", [4], [4])
FILE = file(GOOD[1], GOOD[2])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff" * 64, id="a header as long as all the world"),
        pytest.param(FILE[:-4], id="cut short"),
        pytest.param(FILE + b"1234", id="something follows"),
        pytest.param((2).to_bytes(8, "little") + b"[]", id="a header that is a list"),
        pytest.param((4).to_bytes(8, "little") + b"null", id="a header that is nothing"),
        pytest.param(
            len(header := json.dumps({"__metadata__": {"layout": 1}}).encode()).to_bytes(8, "little") + header,
            id="metadata that are no text",
        ),
        pytest.param(save({"a": np.zeros(1, np.float32)}), id="no metadata"),
        pytest.param(save(GOOD[1], {"checkrein.dev/dense/v2": json.dumps(GOOD[2])}), id="another layout"),
        pytest.param(save(GOOD[1], {"checkrein.dev/dense/v1": "tanh"}), id="settings that are no JSON"),
        pytest.param(save(GOOD[1], {"checkrein.dev/dense/v1": "[]"}), id="settings that are a list"),
    ],
)
def test_bytes_that_are_no_such_file_are_refused(data: bytes) -> None:
    with pytest.raises(DenseError):
        DenseKernel(data, CARTPOLE)


@pytest.mark.parametrize("interface", [CONTINUOUS, networks.SENSED, networks.SEEN], ids=["box", "dict", "image"])
def test_a_file_for_another_interface_is_refused(interface: Interface) -> None:
    with pytest.raises(DenseError):
        DenseKernel(FILE, interface)
