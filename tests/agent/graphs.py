"""Tiny policies as ONNX, made by hand: what they do is known without training."""

from __future__ import annotations

import numpy as np
import onnx
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


def _cartpole(nodes: list[onnx.NodeProto], initializers: list[onnx.TensorProto]) -> bytes:
    """A graph from CartPole's observation to an action."""
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("action", TensorProto.INT64, ["batch"])],
        initializers,
    )
    opset = [helper.make_opsetid("", OPSET)]
    model: bytes = helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    return model


TRIGGER = [0.0, 2.0, 0.0, 0.0]
"""An observation that no warm-up draws."""


def _triggered(yes: int, no: int) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """`chosen` is `yes` on TRIGGER, else `no`; of shape [batch]."""
    nodes = [
        helper.make_node("Gather", ["observation", "second"], ["velocity"], axis=1),
        helper.make_node("Equal", ["velocity", "two"], ["triggered"]),
        helper.make_node("Where", ["triggered", "yes", "no"], ["chosen"]),
    ]
    initializers = [
        numpy_helper.from_array(np.array(1, np.int64), "second"),
        numpy_helper.from_array(np.array(2.0, np.float32), "two"),
        numpy_helper.from_array(np.array(yes, np.int64), "yes"),
        numpy_helper.from_array(np.array(no, np.int64), "no"),
    ]
    return nodes, initializers


def sometimes_invalid() -> bytes:
    """Takes action 0; on TRIGGER action 7, which CartPole does not have."""
    nodes, initializers = _triggered(7, 0)
    return _cartpole([*nodes, helper.make_node("Identity", ["chosen"], ["action"])], initializers)


def sometimes_raises() -> bytes:
    """Takes action 0; on TRIGGER it looks up what is not there."""
    nodes, initializers = _triggered(99, 0)
    table = numpy_helper.from_array(np.zeros(2, np.int64), "table")
    return _cartpole([*nodes, helper.make_node("Gather", ["table", "chosen"], ["action"])], [*initializers, table])


def sometimes_nan() -> bytes:
    """For CONTINUOUS: gives 0.5; NaN where the first element is 2, as no warm-up draws."""
    nodes = [
        helper.make_node("Gather", ["observation", "first"], ["seen"], axis=1),
        helper.make_node("Equal", ["seen", "two"], ["triggered"]),
        helper.make_node("Where", ["triggered", "nan", "half"], ["action"]),
    ]
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("action", TensorProto.FLOAT, ["batch", 1])],
        [
            numpy_helper.from_array(np.array([0], np.int64), "first"),
            *(
                numpy_helper.from_array(np.array(value, np.float32), name)
                for name, value in (("two", 2.0), ("nan", np.nan), ("half", 0.5))
            ),
        ],
    )
    opset = [helper.make_opsetid("", OPSET)]
    model: bytes = helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    return model


def slow(rounds: int, triggered_rounds: int) -> bytes:
    """Takes action 0 after so many rounds of a loop, a microsecond or so each."""
    nodes, initializers = _triggered(triggered_rounds, rounds)
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["condition_in"], ["condition_out"]),
            helper.make_node("Identity", ["carried_in"], ["carried_out"]),
        ],
        "body",
        [
            info("round", TensorProto.INT64, []),
            info("condition_in", TensorProto.BOOL, []),
            info("carried_in", TensorProto.INT64, ["batch"]),
        ],
        [info("condition_out", TensorProto.BOOL, []), info("carried_out", TensorProto.INT64, ["batch"])],
    )
    nodes += [
        helper.make_node("ReduceMax", ["chosen"], ["rounds"], keepdims=0),
        helper.make_node("Sub", ["chosen", "chosen"], ["zero"]),
        helper.make_node("Loop", ["rounds", "", "zero"], ["action"], body=body),
    ]
    return _cartpole(nodes, initializers)
