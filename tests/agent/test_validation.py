"""Observations that may enter, actions that may leave."""

from __future__ import annotations

from typing import Any

import gymnasium
import msgspec
import numpy as np
import pytest
from gymnasium import spaces
from tests.agent.graphs import CARTPOLE, CONTINUOUS

from checkrein.agent.validation import SpaceError, action_reader, checker, json_type, samples
from checkrein.api.spaces import Space
from checkrein.wrappers.spaces import describe

SPACES = {
    "box of floats": spaces.Box(-1, 1, (3,), np.float32),
    "box with an open side": spaces.Box(np.array([0, -np.inf]), np.array([np.inf, 5]), (2,), np.float64),
    "cartpole": gymnasium.make("CartPole-v1").observation_space,
    "pendulum": gymnasium.make("Pendulum-v1").observation_space,
    "image": spaces.Box(0, 255, (4, 3, 2), np.uint8),
    "scalar box": spaces.Box(0, 1, (), np.float32),
    "discrete": spaces.Discrete(5),
    "discrete from -2": spaces.Discrete(5, start=-2),
    "multi-discrete": spaces.MultiDiscrete([2, 3, 4]),
    "multi-binary": spaces.MultiBinary((2, 2)),
}


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
def test_whatever_gymnasium_samples_passes_through_json_unchanged(space: spaces.Space[Any]) -> None:
    described = describe(space, "observation")
    decode = msgspec.json.Decoder(json_type(described)).decode
    check, read = checker(described), action_reader(described)
    space.seed(0)
    for _ in range(200):
        value = np.asarray(space.sample())
        np.testing.assert_array_equal(check(decode(msgspec.json.encode(value.tolist()))), value)
        np.testing.assert_array_equal(np.asarray(read(value[None])), value)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
def test_warm_up_samples_lie_in_the_space_and_reach_its_corners(space: spaces.Space[Any]) -> None:
    described = describe(space, "observation")
    drawn = samples(described, 8, seed=0)
    check = checker(described)
    for value in drawn:
        check(value.tolist())
    assert len(drawn) == 11
    assert (drawn[0] != drawn[1]).any()


@pytest.mark.parametrize(
    ("space", "value", "field", "why"),
    [
        pytest.param(CARTPOLE.observation, [5.0, 0, 0, 0], (0,), "4.8", id="above a bound"),
        pytest.param(CARTPOLE.observation, [0, 0, -0.42, 0], (2,), "-0.418", id="below a bound"),
        pytest.param(CARTPOLE.observation, [0, 1e39, 0, 0], (1,), "finite float32", id="overflows the dtype"),
        pytest.param(describe(spaces.Box(0, 255, (2,), np.uint8), "o"), [1, 256], (1,), "uint8", id="not a byte"),
        pytest.param(describe(spaces.Discrete(3), "o"), 3, (), "0 and 2", id="beyond n"),
        pytest.param(describe(spaces.Discrete(3, start=1), "o"), 0, (), "1 and 3", id="before start"),
        pytest.param(describe(spaces.MultiDiscrete([2, 3]), "o"), [1, 3], (1,), "0 and 2", id="beyond nvec"),
        pytest.param(describe(spaces.MultiBinary(2), "o"), [2, 0], (0,), "0 and 1", id="no bit"),
    ],
)
def test_what_lies_outside_is_refused_by_element(space: Space, value: Any, field: tuple[int, ...], why: str) -> None:
    with pytest.raises(SpaceError, match=why) as caught:
        checker(space)(value)
    assert caught.value.index == field


@pytest.mark.parametrize(
    ("space", "output"),
    [
        pytest.param(CARTPOLE.action, np.array([2]), id="beyond n"),
        pytest.param(CARTPOLE.action, np.array([-1]), id="negative"),
        pytest.param(CARTPOLE.action, np.array([0.5], np.float32), id="half an action"),
        pytest.param(CARTPOLE.action, np.array([0, 1]), id="two actions"),
        pytest.param(CARTPOLE.action, np.array([np.nan], np.float32), id="NaN for a discrete action"),
        pytest.param(CONTINUOUS.action, np.array([[np.nan]], np.float32), id="NaN"),
        pytest.param(CONTINUOUS.action, np.array([[np.inf]], np.float32), id="infinite"),
        pytest.param(CONTINUOUS.action, np.array([[2.01]], np.float32), id="out of bounds"),
    ],
)
def test_no_action_outside_its_space_leaves(space: Space, output: np.ndarray[Any, Any]) -> None:
    with pytest.raises(SpaceError):
        action_reader(space)(output)


def test_a_bound_that_float32_rounds_outwards_is_no_fault() -> None:
    described = describe(spaces.Box(-0.1, 0.1, (2,), np.float64), "action")
    assert action_reader(described)(np.array([[-0.1, 0.1]], np.float32)) == [-0.1, 0.1]
    with pytest.raises(SpaceError):
        action_reader(described)(np.array([[-0.1, 0.1001]], np.float32))
