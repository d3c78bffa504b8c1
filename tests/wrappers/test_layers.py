"""Wrappers of a spec around real environments, and what does not fit."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from pydantic import TypeAdapter

from checkrein.api.environment import RLEnvironmentSpec
from checkrein.api.wrappers import CLIENT_WRAPPERS, Wrapper, client_digest
from checkrein.wrappers.environments import EnvironmentFault, make_environment, make_for_learning
from checkrein.wrappers.layers import Stacked, at_policy, in_training
from checkrein.wrappers.spaces import interface


def wrappers(*raw: dict[str, Any]) -> list[Wrapper]:
    return TypeAdapter(list[Wrapper]).validate_python(list(raw))


def client(name: str, **kwargs: Any) -> dict[str, Any]:
    return {"at": "Client", "gymnasium": {"name": name, "kwargs": kwargs}}


FLATTEN: dict[str, Any] = {"at": "Policy", "flatten": {}}


def stack(frames: int) -> dict[str, Any]:
    return {"at": "Policy", "stack": {"frames": frames}}


def spec(id_: str, *raw: dict[str, Any]) -> RLEnvironmentSpec:
    return RLEnvironmentSpec.model_validate({"source": {"gymnasium": {"id": id_}}, "wrappers": list(raw)})


class Counting(gymnasium.Env[Any, Any]):
    """Shows how many steps were made, in the form of its space; pays that much, and a tenth below zero at first."""

    def __init__(self, observation: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observation, spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.steps = 1
        return self.seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self.seen(), self.steps - 2.1, False, False, {}

    def seen(self) -> Any:
        space = self.observation_space
        return np.full(space.shape or (), self.steps, space.dtype)


@pytest.mark.parametrize(
    ("id_", "wrapper", "check"),
    [
        pytest.param(
            "Pendulum-v1",
            client("RescaleAction", min_action=-1.0, max_action=[1.0]),
            lambda env: env.action_space == spaces.Box(-1, 1, (1,), np.float32),
            id="actions rescaled, a bound for each element",
        ),
        pytest.param(
            "Pendulum-v1",
            client("DiscretizeAction", bins=5),
            lambda env: env.action_space == spaces.Discrete(5),
            id="actions made discrete",
        ),
        pytest.param(
            "Pendulum-v1",
            client("ReshapeObservation", shape=[3, 1]),
            lambda env: env.observation_space.shape == (3, 1),
            id="observations reshaped",
        ),
        pytest.param(
            "CartPole-v1",
            client("DtypeObservation", dtype="float64"),
            lambda env: env.observation_space.dtype == np.float64,
            id="observations of another dtype",
        ),
    ],
)
def test_wrappers_at_client_change_what_callers_see(id_: str, wrapper: dict[str, Any], check: Any) -> None:
    wrapped = spec(id_, wrapper)
    env = make_environment(wrapped)
    assert check(env)
    env.reset(seed=0)
    observation = env.step(env.action_space.sample())[0]
    assert env.observation_space.contains(observation)
    assert interface(env, wrapped.wrappers).client_wrappers == client_digest(wrapped.wrappers)
    assert not check(make_environment(spec(id_)))


def test_every_wrapper_of_the_list_is_one_of_gymnasium_s() -> None:
    assert all(issubclass(getattr(gymnasium.wrappers, name), gymnasium.Wrapper) for name in CLIENT_WRAPPERS)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        pytest.param([client("RescaleAction", max_action=1, min_action=0)], True, id="order of arguments"),
        pytest.param([client("RescaleAction", min_action=0, max_action=2)], False, id="an argument"),
        pytest.param([client("RescaleAction", min_action=0, max_action=1)] * 2, False, id="how often"),
        pytest.param([client("RescaleAction", min_action=0, max_action=1), stack(4)], True, id="others at Policy"),
        pytest.param([], False, id="none"),
    ],
)
def test_the_digest_of_a_driver_s_wrappers_depends_on(other: list[dict[str, Any]], same: bool) -> None:
    one = client_digest(wrappers(client("RescaleAction", min_action=0, max_action=1)))
    assert (client_digest(wrappers(*other)) == one) is same


def test_without_wrappers_at_client_there_is_no_digest() -> None:
    assert client_digest(wrappers(FLATTEN, stack(2))) is None


def test_a_stack_shows_the_latest_observations_and_starts_over_with_each_episode() -> None:
    env = Stacked(Counting(spaces.Box(0, 99, (2,), np.float32)), frames=3)
    for _ in range(2):
        assert env.reset()[0].tolist() == [0, 0, 0, 0, 1, 1]
        assert env.step(0)[0].tolist() == [0, 0, 1, 1, 2, 2]
        assert env.step(0)[0].tolist() == [1, 1, 2, 2, 3, 3]
        seen = env.step(0)[0]
    assert seen.tolist() == [2, 2, 3, 3, 4, 4]
    assert env.observation_space.contains(seen)


@pytest.mark.parametrize(
    ("shape", "stacked"),
    [
        pytest.param((8, 9, 1), (8, 9, 3), id="channels last"),
        pytest.param((2, 8, 9), (6, 8, 9), id="channels first"),
        pytest.param((4,), (12,), id="a list"),
        pytest.param((4, 2), (4, 6), id="a table"),
    ],
)
def test_images_are_stacked_along_their_channels(shape: tuple[int, ...], stacked: tuple[int, ...]) -> None:
    space = Stacked(Counting(spaces.Box(0, 255, shape, np.uint8)), frames=3).observation_space
    assert space == spaces.Box(0, 255, stacked, np.uint8)


def test_flatten_puts_members_in_their_keys_order() -> None:
    members = [("b", spaces.Box(-1, 1, (2,), np.float32)), ("a", spaces.Discrete(3, start=5))]
    env = Counting(spaces.Dict(members))  # type: ignore[arg-type]
    env.seen = lambda: {"b": np.array([0.5, -1], np.float32), "a": 6}  # type: ignore[method-assign]
    flat = at_policy(env, wrappers(FLATTEN))
    assert flat.reset()[0].tolist() == [0, 1, 0, 0.5, -1]
    assert flat.observation_space.shape == (5,)


def test_rewards_are_shaped_in_training_alone() -> None:
    shaping = wrappers(
        {"at": "TrainingOnly", "clipReward": {"min": "-0.05", "max": "1.5"}},
        {"at": "TrainingOnly", "scaleReward": {"factor": "10"}},
    )
    env = in_training(Counting(spaces.Discrete(9)), shaping)
    env.reset()
    assert [env.step(0)[1] for _ in range(4)] == pytest.approx([-0.5, 9, 15, 15])
    plain, learning = (made(spec("CartPole-v1", *[w.dump() for w in shaping])) for made in MAKERS)
    for made in (plain, learning):
        made.reset(seed=0)
        assert made.step(0)[1] == 1.0


MAKERS = (make_environment, make_for_learning)


@pytest.mark.parametrize(
    ("id_", "raw", "reason", "says"),
    [
        pytest.param(
            "CartPole-v1",
            [client("RescaleAction", min_action=-1.0, max_action=1.0)],
            "InvalidWrapper",
            r"spec\.wrappers\[0\]\.gymnasium: RescaleAction does not fit.*Box action space",
            id="of actions that cannot be rescaled",
        ),
        pytest.param(
            "Pendulum-v1",
            [client("FlattenObservation"), client("RescaleAction", minimum=0)],
            "InvalidArguments",
            r"spec\.wrappers\[1\]\.gymnasium\.kwargs: RescaleAction",
            id="with an argument that it does not have",
        ),
        pytest.param(
            "FrozenLake-v1",
            [stack(2)],
            "InvalidWrapper",
            r"spec\.wrappers\[0\]\.stack: only arrays can be stacked.*flatten",
            id="a stack of numbers",
        ),
    ],
)
def test_a_wrapper_that_does_not_fit_is_a_fault(id_: str, raw: list[dict[str, Any]], reason: str, says: str) -> None:
    with pytest.raises(EnvironmentFault, match=says) as caught:
        make_for_learning(spec(id_, *raw))
    assert caught.value.reason == reason


def test_a_stack_that_would_look_like_another_image_is_a_fault() -> None:
    with pytest.raises(EnvironmentFault, match="too many for images"):
        Stacked(Counting(spaces.Box(0, 255, (8, 8, 3), np.uint8)), frames=3)
