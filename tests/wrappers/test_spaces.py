"""Spaces as data and back, and environments made from a spec."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from checkrein.api.environment import RLEnvironmentSpec
from checkrein.wrappers.environments import EnvironmentFault, from_zero, make_environment, step_limit
from checkrein.wrappers.spaces import UnsupportedSpaceError, build, describe

SUPPORTED = [
    pytest.param(spaces.Box(-1.0, 1.0, (3, 2), np.float32), id="Box of one bound"),
    pytest.param(
        spaces.Box(np.array([-4.8, -np.inf], np.float32), np.array([4.8, np.inf], np.float32)), id="half-open Box"
    ),
    pytest.param(spaces.Box(-np.inf, np.inf, (17,), np.float64), id="open Box in double precision"),
    pytest.param(spaces.Box(0, 255, (4, 4, 3), np.uint8), id="image"),
    pytest.param(spaces.Box(-1.0, 1.0, (), np.float32), id="Box of one number"),
    pytest.param(spaces.Box(np.full(2, -3.4e38, np.float32), np.full(2, 3.4e38, np.float32)), id="Box of huge bounds"),
    pytest.param(spaces.Discrete(5), id="Discrete"),
    pytest.param(spaces.Discrete(3, start=-1), id="Discrete with a start"),
    pytest.param(spaces.MultiDiscrete([2, 3, 4]), id="MultiDiscrete"),
    pytest.param(spaces.MultiBinary(4), id="MultiBinary"),
    pytest.param(spaces.MultiBinary([2, 3]), id="MultiBinary of two dimensions"),
    pytest.param(
        spaces.Dict({"b": spaces.Box(0, 255, (4, 4, 3), np.uint8), "a": spaces.Discrete(3, start=1)}), id="Dict"
    ),
]


@pytest.mark.parametrize("space", SUPPORTED)
def test_a_space_comes_back_as_it_was(space: spaces.Space[Any]) -> None:
    rebuilt = build(describe(space, "observation"))
    assert rebuilt == space
    assert rebuilt.dtype == space.dtype


def test_members_are_in_their_keys_order() -> None:
    members = [("b", spaces.Discrete(2)), ("a", spaces.Discrete(3))]
    backward, forward = spaces.Dict(members), spaces.Dict(members[::-1])  # type: ignore[arg-type]
    assert describe(backward, "observation") == describe(forward, "observation")
    assert describe(backward, "observation").describe() == "Dict(a: Discrete(3), b: Discrete(2))"


@given(st.lists(st.floats(-(2.0**100), 0, width=32), min_size=1, max_size=6))
def test_bounds_come_back_exactly(low: list[float]) -> None:
    space = spaces.Box(np.array(low, np.float32), np.float32(1), dtype=np.float32)
    assert build(describe(space, "observation")) == space


@pytest.mark.parametrize(
    ("space", "role", "names"),
    [
        pytest.param(spaces.Dict({"a": spaces.Discrete(2)}), "action", "Dict", id="Dict of actions"),
        pytest.param(spaces.Dict({"a": spaces.Dict({})}), "observation", "Dict", id="Dict of Dicts"),
        pytest.param(spaces.Dict({"a": spaces.Text(3)}), "observation", "Text", id="Dict of what no network reads"),
        pytest.param(spaces.Dict({}), "observation", "0 members", id="empty Dict"),
        pytest.param(
            spaces.Dict({"a.b": spaces.Discrete(2)}), "observation", "'a.b'.*letters", id="Dict key with a dot"
        ),
        pytest.param(spaces.Tuple([spaces.Discrete(2)]), "action", "Tuple", id="Tuple"),
        pytest.param(
            spaces.MultiDiscrete([[2, 3], [4, 5]]), "action", "MultiDiscrete", id="MultiDiscrete of two dimensions"
        ),
        pytest.param(spaces.MultiDiscrete([2, 3], start=[1, 0]), "action", "MultiDiscrete", id="shifted MultiDiscrete"),
        pytest.param(spaces.Box(-np.inf, np.inf, (1,)), "action", "finite bounds", id="unbounded action"),
        pytest.param(spaces.Box(0, 9, (1,), np.int64), "action", "floating-point", id="Box of integers as action"),
    ],
)
def test_an_unsupported_space_is_refused_with_the_mend(space: spaces.Space[Any], role: str, names: str) -> None:
    with pytest.raises(UnsupportedSpaceError, match=rf"{role}[.a-z]* space.*{names}"):
        describe(space, role)


def spec(id_: str, limit: int | None = None, **kwargs: Any) -> RLEnvironmentSpec:
    source = {"gymnasium": {"id": id_, "kwargs": kwargs}}
    return RLEnvironmentSpec.model_validate({"source": source, "safety": {"maxEpisodeSteps": limit}})


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        pytest.param(None, 500, id="the registered one"),
        pytest.param(7, 7, id="ours, shorter"),
        pytest.param(900, 900, id="ours, longer"),
    ],
)
def test_the_step_limit_is(limit: int | None, expected: int) -> None:
    env = make_environment(spec("CartPole-v1", limit))
    assert step_limit(env) == expected
    env.reset(seed=0)
    env.unwrapped.theta_threshold_radians = env.unwrapped.x_threshold = float("inf")  # type: ignore[attr-defined]
    for _ in range(expected - 1):
        assert not env.step(env.action_space.sample())[3]
    assert env.step(env.action_space.sample())[3]


def test_arguments_reach_the_environment() -> None:
    assert make_environment(spec("FrozenLake-v1", map_name="8x8")).observation_space == spaces.Discrete(64)


def test_an_unknown_id_is_a_fault_that_names_its_like() -> None:
    with pytest.raises(EnvironmentFault, match=r"spec\.source\.gymnasium\.id.*CartPole-v1") as raised:
        make_environment(spec("CartPoel-v1"))
    assert raised.value.reason == "EnvironmentNotFound"


class Shifted(gymnasium.Env[int, int]):
    observation_space: spaces.Space[Any] = spaces.Discrete(3, start=10)
    action_space: spaces.Space[Any] = spaces.Discrete(2, start=-1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return 11, {}

    def step(self, action: Any) -> Any:
        return 12, float(action), False, False, {}


def test_spaces_that_start_elsewhere_count_from_zero_for_training() -> None:
    env = from_zero(Shifted())
    assert env.observation_space == spaces.Discrete(3)
    assert env.action_space == spaces.Discrete(2)
    assert env.reset()[0] == 1
    observation, reward, *_ = env.step(0)
    assert (observation, reward) == (2, -1.0)
