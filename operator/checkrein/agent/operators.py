"""Which operators an ONNX model has, read from its bytes: the agent's image has no library for that.

A graph that draws its own random numbers could not be repeated, and its propensities would be unknown. Acting by
chance is done outside of it (see `exploration`).

Read is what the format's definition (onnx.proto) calls ModelProto, GraphProto, NodeProto, AttributeProto and
FunctionProto, in protobuf's wire format; everything else is skipped unread, weights above all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

RANDOM = frozenset(
    ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Sampling")
)
"""By name, in whatever domain: ONNX's own, and Sampling of ONNX Runtime's."""
DROPOUT_INPUTS = {"Dropout": 2, "BiasDropout": 4, "BitmaskDropout": 2, "BitmaskBiasDropout": 4}
"""Position of `training_mode`. Absent, or without a name, the operator passes on what it gets."""
DEEPEST = 64
"""Graphs within graphs; protobuf itself stops at 100 messages, and a graph takes three."""

_GRAPH, _FUNCTION = 7, 25  # ModelProto
_NODE = 1  # GraphProto
_FUNCTION_NODE = 7
_INPUT, _OPERATOR, _ATTRIBUTE = 1, 4, 5  # NodeProto
_SUBGRAPH, _SUBGRAPHS = 6, 11  # AttributeProto


class SamplingError(ValueError):
    """The graph draws random numbers."""


class MalformedError(ValueError):
    """Not the bytes of a protobuf message."""


@dataclass
class Node:
    """One operation of a graph."""

    operator: str = ""
    inputs: list[str] = field(default_factory=list)

    @property
    def samples(self) -> bool:
        """Whether it draws random numbers, or may."""
        training = DROPOUT_INPUTS.get(self.operator)
        return self.operator in RANDOM or (training is not None and any(self.inputs[training : training + 1]))


def sampling(model: bytes) -> None:
    """Raises SamplingError where the model has an operator that samples, MalformedError where it cannot be read."""
    found = sorted({node.operator for node in nodes(model) if node.samples})
    if found:
        raise SamplingError(
            f"the graph samples inside ({', '.join(found)}); export it without, in evaluation mode, and let "
            "acting: Stochastic or spec.exploration draw the action"
        )


def nodes(model: bytes) -> Iterator[Node]:
    """Every node of the model: of its graph, of graphs within its operators, and of its functions."""
    for number, value in _fields(memoryview(model)):
        if number == _GRAPH:
            yield from _of_graph(value, _NODE, DEEPEST)
        elif number == _FUNCTION:
            yield from _of_graph(value, _FUNCTION_NODE, DEEPEST)


def _of_graph(graph: memoryview, number: int, depth: int) -> Iterator[Node]:
    if not depth:
        raise MalformedError(f"the graph is nested more than {DEEPEST} deep")
    for at, value in _fields(graph):
        if at == number:
            yield from _of_node(value, depth)


def _of_node(data: memoryview, depth: int) -> Iterator[Node]:
    node = Node()
    for number, value in _fields(data):
        if number == _INPUT:
            node.inputs.append(_text(value))
        elif number == _OPERATOR:
            node.operator = _text(value)
        elif number == _ATTRIBUTE:
            for inner, subgraph in _fields(value):
                if inner in (_SUBGRAPH, _SUBGRAPHS):
                    yield from _of_graph(subgraph, _NODE, depth - 1)
    yield node


def _text(value: memoryview) -> str:
    return str(value, "utf-8", "replace")


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of each field that has a length; numbers of fixed length are passed over."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        if tag >= 2**32:
            raise MalformedError(f"{tag} is no field")
        match tag & 7:
            case 0:
                _, position = _varint(data, position)
            case 1:
                position += 8
            case 5:
                position += 4
            case 2:
                length, start = _varint(data, position)
                position = start + length
                if position <= len(data):
                    yield tag >> 3, data[start:position]
            case other:
                raise MalformedError(f"a field has wire type {other}, which ONNX does not use")
        if position > len(data):
            raise MalformedError("a field is longer than what holds it")


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """A number of at most 64 bits, and where what follows it begins."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise MalformedError("a number does not end")
