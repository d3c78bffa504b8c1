"""Graphs that draw random numbers are found by their bytes, wherever in the graph they do it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tests.agent import networks
from tests.agent.graphs import balancing, steady
from torch import Tensor, nn

from checkrein.agent.operators import DEEPEST, MalformedError, SamplingError, nodes, sampling

OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("own", 1)]


class Drawing(nn.Module):
    """Gives an action that is drawn."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.head, self.dropout = how, nn.Linear(4, 2), nn.Dropout(0.5)

    def forward(self, observation: Tensor) -> Tensor:
        """One of several ways to draw."""
        scores = self.head(observation)
        match self.how:
            case "multinomial":
                return torch.multinomial(scores.softmax(dim=1), 1)
            case "bernoulli":
                return torch.bernoulli(scores.sigmoid())
            case "rand":
                return scores + torch.rand(2, 2)
            case "rand_like":
                return scores + torch.rand_like(scores)
            case "randn":
                return scores + torch.randn(2, 2)
            case "randn_like":
                return scores + torch.randn_like(scores)
            case "gumbel":
                return nn.functional.gumbel_softmax(scores, hard=True)
            case _:
                return self.dropout(scores)


def drawing(how: str, training: torch.onnx.TrainingMode = torch.onnx.TrainingMode.PRESERVE) -> bytes:
    return networks.exported(Drawing(how).train(), {"observation": torch.zeros(2, 4)}, ["action"], training)


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("multinomial", "Multinomial"),
        ("bernoulli", "Bernoulli"),
        ("rand", "RandomUniform"),
        ("rand_like", "RandomUniformLike"),
        ("randn", "RandomNormal"),
        ("randn_like", "RandomNormalLike"),
        ("dropout", "Dropout"),
    ],
)
def test_what_torch_exports_of_a_drawing_network_is_refused(how: str, found: str) -> None:
    with pytest.raises(SamplingError, match=rf"samples inside \({found}\)"):
        sampling(drawing(how))


def test_what_is_drawn_in_training_only_is_not_refused() -> None:
    sampling(drawing("dropout", torch.onnx.TrainingMode.EVAL))


def of(*made: onnx.NodeProto, functions: list[onnx.FunctionProto] | None = None) -> bytes:
    """A model of these nodes."""
    entry = helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["batch", 3])
    result = helper.make_tensor_value_info("action", TensorProto.FLOAT, ["batch", 3])
    graph = helper.make_graph(made, "policy", [entry], [result])
    model = helper.make_model(graph, opset_imports=OPSETS, functions=functions or [], ir_version=9)
    return bytes(model.SerializeToString())


NOISE = helper.make_node("RandomNormalLike", ["observation"], ["action"])
PLAIN = helper.make_node("Identity", ["observation"], ["action"])


def branch(node: onnx.NodeProto) -> onnx.GraphProto:
    """A graph within a graph."""
    result = helper.make_tensor_value_info("action", TensorProto.FLOAT, ["batch", 3])
    return helper.make_graph([node], "branch", [], [result])


def choice(then: onnx.NodeProto, otherwise: onnx.NodeProto) -> onnx.NodeProto:
    """An If."""
    return helper.make_node("If", ["which"], ["action"], then_branch=branch(then), else_branch=branch(otherwise))


def function(node: onnx.NodeProto) -> onnx.FunctionProto:
    """A function of the model's own."""
    return helper.make_function("own", "Steady", ["observation"], ["action"], [node], OPSETS)


CALL = helper.make_node("Steady", ["observation"], ["action"], domain="own")


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(of(choice(PLAIN, NOISE)), id="in a branch"),
        pytest.param(of(choice(PLAIN, choice(NOISE, PLAIN))), id="in a branch of a branch"),
        pytest.param(of(CALL, functions=[function(NOISE)]), id="in a function"),
        pytest.param(of(CALL, functions=[function(choice(PLAIN, NOISE))]), id="in a branch in a function"),
        pytest.param(of(helper.make_node("Sampling", [], [], domain="com.microsoft")), id="by the runtime's own"),
        pytest.param(
            of(helper.make_node("Dropout", ["observation", "", "training"], ["action"])), id="dropout in training"
        ),
    ],
)
def test_random_operators_are_found_wherever_they_are(model: bytes) -> None:
    with pytest.raises(SamplingError):
        sampling(model)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(balancing(), id="a linear one"),
        pytest.param(networks.remembering()[1], id="a recurrent one"),
        pytest.param(networks.seen()[1], id="a convolutional one"),
        pytest.param(of(choice(PLAIN, PLAIN)), id="one with branches"),
        pytest.param(of(helper.make_node("Dropout", ["observation", "ratio"], ["action"])), id="dropout, not training"),
        pytest.param(of(helper.make_node("Dropout", ["observation", "", ""], ["action"])), id="dropout, left out"),
        pytest.param(of(helper.make_node("Identity", ["Bernoulli"], ["RandomNormal"])), id="names that only look so"),
    ],
)
def test_other_graphs_are_left_alone(model: bytes) -> None:
    sampling(model)


@pytest.mark.parametrize("model", [balancing(), networks.remembering()[1], networks.sensing()[1]], ids=len)
def test_every_node_is_seen(model: bytes) -> None:
    parsed = onnx.load_model_from_string(model)
    assert [node.operator for node in nodes(model)] == [node.op_type for node in parsed.graph.node]
    assert [node.inputs for node in nodes(model)] == [list(node.input) for node in parsed.graph.node]


def field(number: int, content: bytes) -> bytes:
    """One field of a message in protobuf's wire format."""
    length = len(content)
    return bytes([number << 3 | 2, length & 127 | 128, length >> 7 & 127 | 128, length >> 14]) + content


def test_nesting_has_an_end() -> None:
    graph = b""
    for _ in range(DEEPEST):
        graph = field(1, field(5, field(6, graph)))  # a graph as an attribute of a node of a graph
    with pytest.raises(MalformedError, match="nested"):
        sampling(field(7, graph))


@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_bytes_are_read_or_refused(noise: bytes, at: int) -> None:
    model = steady(float(np.float32(0.5)))
    for data in (noise, model[:at], model[:at] + noise + model[at:]):
        try:
            sampling(data)
        except (MalformedError, SamplingError):
            continue
