"""Spaces as JSON Schema: what the schema allows is what the agent accepts, to the last digit."""

from __future__ import annotations

import math
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.agent.graphs import CARTPOLE

from checkrein.agent.schemas import MOST_ITEMS, action_schema, observation_schema
from checkrein.agent.validation import SpaceError, action_reader, checker, json_type
from checkrein.api.spaces import Space
from checkrein.shield.arrays import bounds
from checkrein.wrappers.spaces import describe

SPACES: dict[str, Space] = {
    "cartpole": CARTPOLE.observation,
    "box of doubles": describe(spaces.Box(-0.1, 0.1, (2,), np.float64), "o"),
    "box with open sides": describe(spaces.Box(np.array([0, -np.inf]), np.array([np.inf, 5]), dtype=np.float32), "o"),
    "open doubles": describe(spaces.Box(-np.inf, np.inf, (1,), np.float64), "o"),
    "half precision": describe(spaces.Box(-np.inf, 0.1, (1,), np.float16), "o"),
    "scalar": describe(spaces.Box(0, 1, (), np.float32), "o"),
    "image": describe(spaces.Box(0, 255, (2, 3, 3), np.uint8), "o"),
    "matrix whose bounds differ": describe(
        spaces.Box(np.zeros((2, 2), np.float32), np.arange(1, 5, dtype=np.float32).reshape(2, 2)), "o"
    ),
    "discrete from -2": describe(spaces.Discrete(5, start=-2), "o"),
    "multi-discrete": describe(spaces.MultiDiscrete([2, 3]), "o"),
    "multi-binary": describe(spaces.MultiBinary((2, 2)), "o"),
    "dict": describe(spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Box(-1, 1, (2,), np.float32)}), "observation"),
}


def accepted(space: Space, value: Any) -> bool:
    """Whether the agent takes this value as an observation."""
    try:
        checker(space)(msgspec.json.decode(msgspec.json.encode(value), type=json_type(space)))
    except (SpaceError, msgspec.ValidationError):
        return False
    return True


def allowed(schema: dict[str, Any], value: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


def numbers(schema: dict[str, Any], inside: bool) -> st.SearchStrategy[float]:
    """Numbers at the bounds and in the middle, or next to them outside."""
    low, high = schema["minimum"], schema["maximum"]
    if schema["type"] == "integer":
        return st.sampled_from([low, high] if inside else [low - 1, high + 1])
    if inside:
        return st.sampled_from([low, high, low / 2 + high / 2])
    outside = [n for n in (math.nextafter(low, -math.inf), math.nextafter(high, math.inf)) if math.isfinite(n)]
    return st.sampled_from(outside or [low])


def values(schema: dict[str, Any], inside: bool) -> st.SearchStrategy[Any]:
    """Values that fit, or have one kind of fault: elements outside, or a wrong length."""
    if schema["type"] == "object":
        return st.fixed_dictionaries({name: values(inner, inside) for name, inner in schema["properties"].items()})
    if schema["type"] != "array":
        return numbers(schema, inside)
    if "prefixItems" in schema:
        return st.tuples(*(values(item, inside) for item in schema["prefixItems"])).map(list)
    length, item = schema["maxItems"], schema["items"]
    right = st.lists(values(item, inside), min_size=length, max_size=length)
    return right if inside else right | st.lists(values(item, True), min_size=length - 1, max_size=length + 1)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
def test_an_observation_is_accepted_exactly_where_its_schema_allows_it(space: Space) -> None:
    schema = observation_schema(space)
    jsonschema.Draft202012Validator.check_schema(schema)
    verdicts: set[bool] = set()

    @settings(max_examples=200, deadline=None)
    @given(values(schema, True) | values(schema, False))
    def compare(value: Any) -> None:
        assert allowed(schema, value) == accepted(space, value), value
        verdicts.add(allowed(schema, value))

    compare()
    assert True in verdicts


@pytest.mark.parametrize("space", [s for n, s in SPACES.items() if n != "dict"], ids=[n for n in SPACES if n != "dict"])
def test_actions_that_leave_are_those_of_their_schema(space: Space) -> None:
    low, high = (np.nan_to_num(bound.astype(np.float64), posinf=9, neginf=-9) for bound in bounds(space))
    for output in (low, high):
        value = action_reader(space)(output.astype(space.dtype))
        assert allowed(action_schema(space), value), value


def test_bounds_that_differ_in_too_many_elements_are_told_as_the_widest() -> None:
    high = np.linspace(1, 2, MOST_ITEMS + 1, dtype=np.float32)
    schema = observation_schema(describe(spaces.Box(np.zeros_like(high), high), "o"))
    assert schema["items"]["maximum"] == pytest.approx(2)
    assert "prefixItems" not in schema
