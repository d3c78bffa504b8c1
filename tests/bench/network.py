"""The network that every server serves: 4-64-64-2 and 4-64-64-1 with tanh, as a trainer exports PPO for CartPole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper
from safetensors.numpy import save
from tests.agent.graphs import OPSET

HIDDEN = 64
TOWERS = {"actor": [4, HIDDEN, HIDDEN, 2], "critic": [4, HIDDEN, HIDDEN, 1]}
Tensors = dict[str, np.ndarray]


def graph(seed: int) -> bytes:
    """Action, logits and value of a batch of observations, as ONNX; the weights follow from the seed."""
    nodes = [node for tower in TOWERS for node in _tower(tower)]
    nodes.append(helper.make_node("ArgMax", ["logits"], ["action"], axis=1, keepdims=0))
    shapes: dict[str, list[str | int | None]] = {"logits": ["batch", 2], "value": ["batch", 1]}
    made = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["batch", 4])],
        [
            helper.make_tensor_value_info("action", TensorProto.INT64, ["batch"]),
            *(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()),
        ],
        [numpy_helper.from_array(array, name) for name, array in tensors(seed).items()],
    )
    opset = [helper.make_opsetid("", OPSET)]
    model: bytes = helper.make_model(made, opset_imports=opset, ir_version=9).SerializeToString()
    return model


def layers(seed: int) -> dict[str, bytes]:
    """The same weights as the file that a trainer puts beside the graph."""
    metadata = {"checkrein.dev/dense/v1": json.dumps({"activation": "tanh", "head": "logits"})}
    return {"policy.safetensors": save({**tensors(seed), "value_scale": np.ones(1)}, metadata)}


def tensors(seed: int) -> Tensors:
    """Weights [out, in] and biases by tower and layer."""
    rng, found = np.random.default_rng(seed), {}
    for tower, widths in TOWERS.items():
        for layer, (inputs, outputs) in enumerate(pairwise(widths)):
            weight = rng.normal(0, inputs**-0.5, (outputs, inputs))
            found[f"{tower}.{layer}.weight"] = weight.astype(np.float32)
            found[f"{tower}.{layer}.bias"] = rng.normal(0, 0.1, outputs).astype(np.float32)
    return found


def observations(count: int, seed: int = 0) -> list[list[float]]:
    """As an episode of CartPole would show them."""
    drawn = np.random.default_rng(seed).uniform(-0.2, 0.2, (count, 4)).astype(np.float32)
    return [[float(value) for value in row] for row in drawn]


def _tower(tower: str) -> Iterator[NodeProto]:
    given = "observation"
    for layer in range(3):
        last = "logits" if tower == "actor" else "value"
        result = last if layer == 2 else f"{tower}.{layer}"
        names = [given, f"{tower}.{layer}.weight", f"{tower}.{layer}.bias"]
        yield helper.make_node("Gemm", names, [result], transB=1)
        if layer < 2:
            given = f"{result}.tanh"
            yield helper.make_node("Tanh", [result], [given])
