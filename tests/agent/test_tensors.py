"""Tensors of the Open Inference Protocol as observations, for spaces that the replica of test_oip does not have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from checkrein.agent import oip, tensors
from checkrein.agent.problems import Problem
from checkrein.agent.tensors import Input, Tail
from checkrein.api.spaces import Interface, Space
from checkrein.wrappers.spaces import describe

IMAGE = describe(spaces.Box(0, 255, (2, 2), np.uint8), "observation")
BITS = describe(spaces.MultiBinary(3), "observation")
NUMBER = describe(spaces.Discrete(5), "observation")
PARTS = describe(
    spaces.Dict({"camera": spaces.Box(0, 255, (2, 2), np.uint8), "gear": spaces.Discrete(5)}), "observation"
)


def rows(space: Space, datatype: str, shape: list[int], data: Any) -> list[Any]:
    return tensors.rows(Input("observation", shape, datatype, data), space, Tail(b""))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("space", "datatype", "shape", "data", "wanted"),
    [
        pytest.param(IMAGE, "UINT8", [1, 2, 2], [1, 2, 3, 255], [[[1, 2], [3, 255]]], id="an image, flat"),
        pytest.param(IMAGE, "UINT8", [1, 2, 2], [[[1, 2], [3, 4]]], [[[1, 2], [3, 4]]], id="an image, nested"),
        pytest.param(IMAGE, "INT64", [1, 2, 2], [300, 0, 0, 0], [[[300, 0], [0, 0]]], id="the space is checked later"),
        pytest.param(BITS, "BOOL", [2, 3], [True, False] * 3, [[1, 0, 1], [0, 1, 0]], id="bits"),
        pytest.param(NUMBER, "INT32", [3], [0, 4, 2], [0, 4, 2], id="numbers have no dimension of their own"),
    ],
)
def test_rows(space: Space, datatype: str, shape: list[int], data: Any, wanted: list[Any]) -> None:
    assert rows(space, datatype, shape, data) == wanted


@pytest.mark.parametrize(
    ("space", "datatype", "shape", "data"),
    [
        pytest.param(NUMBER, "FP32", [1], [1.0], id="a float for an integer"),
        pytest.param(IMAGE, "UINT8", [1, 2, 2], [256, 0, 0, 0], id="no byte"),
        pytest.param(IMAGE, "UINT8", [1, 2, 2], [-1, 0, 0, 0], id="below a byte"),
        pytest.param(IMAGE, "UINT8", [1, 4], [0] * 4, id="another shape"),
        pytest.param(IMAGE, "UINT8", [1, 2, 2], [[[1, 2], [3]]], id="ragged"),
        pytest.param(BITS, "BOOL", [1, 3], [1, 0, 1], id="numbers for bits"),
        pytest.param(IMAGE, "UINT8", [2**31, 2, 2], [], id="a huge shape"),
    ],
)
def test_rows_that_are_refused(space: Space, datatype: str, shape: list[int], data: Any) -> None:
    with pytest.raises(Problem) as caught:
        rows(space, datatype, shape, data)
    assert (caught.value.slug, caught.value.field) == ("wrong-shape", "observation")


def test_a_dict_is_as_many_inputs_as_it_has_members() -> None:
    spaces_by_name = oip.entries(Interface(observation=PARTS, action=NUMBER))
    told = {name: (tensors.datatype(space), tensors.shape(space)) for name, space in spaces_by_name.items()}
    assert told == {"observation.camera": ("UINT8", [-1, 2, 2]), "observation.gear": ("INT64", [-1])}
