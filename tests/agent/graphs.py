"""Tiny policies as ONNX, made by hand: what they do is known without training."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from checkrein.api.spaces import Interface, Space

OPSET = 17
CARTPOLE = Interface(
    observation=Space(
        type="Box",
        dtype="float32",
        shape=[4],
        low=["-4.8", "-inf", "-0.41887903", "-inf"],
        high=["4.8", "inf", "0.41887903", "inf"],
    ),
    action=Space(type="Discrete", dtype="int64", n=2, start=0),
)
CONTINUOUS = Interface(
    observation=Space(type="Box", dtype="float32", shape=[3], low=["-8.0"], high=["8.0"]),
    action=Space(type="Box", dtype="float32", shape=[1], low=["-2.0"], high=["2.0"]),
)


def linear(weights: np.ndarray, bias: list[float], *, arg_max: bool) -> bytes:
    """`observation @ weights + bias`, and its largest entry's index where `arg_max`."""
    inputs, outputs = weights.shape
    nodes = [helper.make_node("Gemm", ["observation", "weights", "bias"], ["scores" if arg_max else "action"])]
    if arg_max:
        nodes.append(helper.make_node("ArgMax", ["scores"], ["action"], axis=1, keepdims=0))
    action = (
        helper.make_tensor_value_info("action", TensorProto.INT64, ["batch"])
        if arg_max
        else helper.make_tensor_value_info("action", TensorProto.FLOAT, ["batch", outputs])
    )
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["batch", inputs])],
        [action],
        [
            numpy_helper.from_array(weights.astype(np.float32), "weights"),
            numpy_helper.from_array(np.array(bias, np.float32), "bias"),
        ],
    )
    opset = [helper.make_opsetid("", OPSET)]
    model: bytes = helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    return model


def always(action: int, observations: int = 4, actions: int = 2) -> bytes:
    """Takes the same discrete action whatever it sees."""
    return linear(np.zeros((observations, actions)), [float(a == action) for a in range(actions)], arg_max=True)


def balancing() -> bytes:
    """Pushes the cart to the side that the pole falls to: holds CartPole-v1 for a few hundred steps."""
    lean = np.array([0.0, 0.1, 1.0, 1.0])
    return linear(np.stack([-lean, lean], axis=1), [0.0, 0.0], arg_max=True)


def steady(value: float, observations: int = 3) -> bytes:
    """Gives the same number as its continuous action; NaN is a number here."""
    return linear(np.zeros((observations, 1)), [value], arg_max=False)
