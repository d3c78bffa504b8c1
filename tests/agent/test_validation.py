"""Observations that may enter, actions that may leave."""

from __future__ import annotations

from typing import Any

import gymnasium
import msgspec
import numpy as np
import pytest
from gymnasium import spaces
from tests.agent.graphs import CARTPOLE, CONTINUOUS

from checkrein.agent.validation import SpaceError, action_reader, checker, json_type
from checkrein.api.spaces import Space
from checkrein.shield.arrays import samples
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
    "wide box": spaces.Box(-3, 3, (40,), np.float32),
}
SENSORS = spaces.Dict(
    {
        "camera": spaces.Box(0, 255, (3, 2, 1), np.uint8),
        "speed": spaces.Box(-1, 9, (2,), np.float32),
        "gear-now": spaces.Discrete(3, start=1),
        "doors": spaces.MultiBinary(2),
        "modes": spaces.MultiDiscrete([2, 3]),
    }
)


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


def test_a_dict_passes_through_json_unchanged_whatever_its_keys_order() -> None:
    described = describe(SENSORS, "observation")
    decode = msgspec.json.Decoder(json_type(described)).decode
    SENSORS.seed(0)
    for _ in range(50):
        value = SENSORS.sample()
        sent = {name: np.asarray(value[name]).tolist() for name in sorted(value, reverse=True)}
        for given in (decode(msgspec.json.encode(sent)), sent):
            found = checker(described)(given)
            assert isinstance(found, dict)
            assert found.keys() == value.keys()
            for name, array in found.items():
                np.testing.assert_array_equal(array, value[name])
                assert array.dtype == SENSORS[name].dtype


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"camera": [[[1], [2]], [[3], [4]]]}, r"length >= 3 - at `\$\.camera`", id="too few rows"),
        pytest.param({"speed": [0.5, "1"]}, r"`\$\.speed\[1\]`", id="text for a number"),
        pytest.param({"gear-now": None}, r"`\$\.gear-now`", id="null"),
        pytest.param({"sped": 1}, "unknown field `sped`", id="a member too many"),
    ],
)
def test_a_dict_of_another_shape_is_refused_by_member(change: dict[str, Any], says: str) -> None:
    value = {"camera": [[[0]] * 2] * 3, "speed": [0, 0], "gear-now": 1, "doors": [0, 1], "modes": [1, 2]}
    decode = msgspec.json.Decoder(json_type(describe(SENSORS, "observation"))).decode
    decode(msgspec.json.encode(value))
    with pytest.raises(msgspec.ValidationError, match=says):
        decode(msgspec.json.encode(value | change))
    with pytest.raises(msgspec.ValidationError, match="missing required field `modes`"):
        decode(msgspec.json.encode({k: v for k, v in value.items() if k != "modes"}))


def test_warm_up_samples_of_a_dict_vary_each_member() -> None:
    described = describe(SENSORS, "observation")
    drawn = samples(described, 8, seed=0)
    assert len(drawn) == 11
    for value in drawn:
        checker(described)(value)
    for name in described.leaves:
        assert any((value[name] != drawn[0][name]).any() for value in drawn[3:])  # type: ignore[call-overload]


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
        pytest.param(describe(SPACES["wide box"], "o"), [0.0] * 39 + [3.5], (39,), "3.0", id="in a long array"),
    ],
)
def test_what_lies_outside_is_refused_by_element(space: Space, value: Any, field: tuple[int, ...], why: str) -> None:
    with pytest.raises(SpaceError, match=why) as caught:
        checker(space)(value)
    assert caught.value.index == field


@pytest.mark.parametrize(
    ("member", "value", "path"),
    [
        pytest.param("camera", [[[0], [0]], [[0], [256]], [[0], [0]]], ".camera[1][1][0]", id="no byte"),
        pytest.param("speed", [0.0, 9.5], ".speed[1]", id="out of bounds"),
        pytest.param("gear-now", 0, ".gear-now", id="before start"),
        pytest.param("speed", [0.0, 0.0, 0.0], ".speed", id="too many elements"),
        pytest.param("modes", np.array([0.5, 1.0]), ".modes", id="halves for whole numbers"),
    ],
)
def test_what_lies_outside_a_dict_is_refused_by_member_and_element(member: str, value: Any, path: str) -> None:
    zeros = {"camera": [[[0]] * 2] * 3, "speed": [0, 0], "gear-now": 1, "doors": [0, 1], "modes": [1, 2]}
    check = checker(describe(SENSORS, "observation"))
    check(zeros)
    with pytest.raises(SpaceError) as caught:
        check(zeros | {member: value})
    assert caught.value.path == path


def test_a_bound_in_decimal_digits_is_inside_once_it_is_rounded() -> None:
    check = checker(CARTPOLE.observation)
    assert check([4.80000011, 0, 0, 0])[0] == np.float32(4.8)  # type: ignore[index]
    with pytest.raises(SpaceError):
        check([4.800001, 0, 0, 0])


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
