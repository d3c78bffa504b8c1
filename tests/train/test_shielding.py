"""A policy is judged by what the rules of its environment let through, as an agent would act by it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from tests.train.conftest import environment, exported
from tests.train.test_export import trained

from checkrein.train.evaluation import Played, evaluate
from checkrein.train.failures import Failed
from checkrein.train.policy import Policy
from checkrein.train.shielding import Shielded

SEEDS = [3, 5, 8]
LENGTH = 20
TAKEN: list[list[Any]] = []


class Taken(gymnasium.Env[Any, Any]):
    """Shows noise, whatever is done, and notes what is."""

    observation_space: spaces.Space[Any] = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space: spaces.Space[Any] = spaces.Discrete(3, start=-1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.taken: list[Any] = []
        TAKEN.append(self.taken)
        return self._seen(), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), action
        self.taken.append(np.asarray(action).tolist())
        return self._seen(), 1.0, len(self.taken) == LENGTH, False, {}

    def _seen(self) -> Any:
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)


class TakenBox(Taken):
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)


class TakenDict(Taken):
    observation_space = spaces.Dict({"place": Taken.observation_space})

    def _seen(self) -> Any:
        return {"place": super()._seen()}


gymnasium.register("test/Taken-v0", Taken)
gymnasium.register("test/TakenBox-v0", TakenBox)
gymnasium.register("test/TakenDict-v0", TakenDict)


def policy_of(id_: str, algorithm: str = "PPO") -> Policy:
    return exported(*trained(id_, algorithm, False, {}))[0]


def played(id_: str, policy: Policy, *rules: dict[str, Any], features: Any = ("x", "y")) -> tuple[Played, Any]:
    """What came of it, and the actions of each episode."""
    TAKEN.clear()
    spec = environment(
        id_, safety={"features": list(features), "shield": [{"name": f"r{i}", **r} for i, r in enumerate(rules)]}
    )
    found = evaluate(spec, Shielded(policy, spec.safety), SEEDS)
    return found, [list(taken) for taken in TAKEN]


@pytest.mark.parametrize("id_", ["test/Taken-v0", "test/TakenDict-v0"])
@pytest.mark.parametrize("algorithm", ["PPO", "DQN"])
def test_what_a_rule_forbids_is_not_done_and_counted(id_: str, algorithm: str) -> None:
    policy = policy_of(id_, algorithm)
    bare, before = played(id_, policy)
    favourite = before[0][0]
    found, after = played(id_, policy, {"forbid": [favourite]})
    assert favourite not in {action for taken in after for action in taken}
    assert found.shielded == [taken.count(favourite) for taken in before]
    assert (bare.shielded, found.ended, found.lengths) == ([0] * 3, [], [LENGTH] * 3)
    for one, other in zip(before, after, strict=True):
        assert [a for a in one if a != favourite] == [b for a, b in zip(one, other, strict=True) if a != favourite]


def test_rules_see_the_step_and_the_features() -> None:
    policy = policy_of("test/Taken-v0")
    first = played("test/Taken-v0", policy)[1][0][0]
    found, taken = played("test/Taken-v0", policy, {"forbid": [first], "when": "step < 1 && features.x <= 1.0"})
    assert taken[0][0] != first
    assert all(count <= 1 for count in found.shielded)


def test_rules_see_the_action_before() -> None:
    policy = policy_of("test/TakenBox-v0", "TD3")
    _, before = played("test/TakenBox-v0", policy)
    assert max(np.abs(np.diff(before[0], axis=0)).max(), 1) > 0.01
    found, after = played("test/TakenBox-v0", policy, {"maxChange": ["0.01"]})
    for taken in after:
        assert np.abs(np.diff(taken, axis=0)).max() <= 0.01 + 1e-6
    assert sum(found.shielded) > 0


def test_a_rule_ends_episodes() -> None:
    found, taken = played(
        "test/Taken-v0", policy_of("test/Taken-v0"), {"require": "step < 4", "otherwise": "Terminate"}
    )
    assert [len(actions) for actions in taken] == found.lengths == [4] * 3
    assert (found.returns, found.shielded, sorted(found.ended)) == ([4.0] * 3, [1] * 3, [0, 1, 2])


def test_where_nothing_may_be_done_the_episode_ends() -> None:
    """In a Box nobody guesses what to do instead, and no deployment is there to say it."""
    policy = policy_of("test/TakenBox-v0", "TD3")
    found, taken = played("test/TakenBox-v0", policy, {"require": "action[0] > 2.0"})
    assert (taken, found.returns, sorted(found.ended)) == ([[]] * 3, [0.0] * 3, [0, 1, 2])


def test_a_rule_that_does_not_fit_is_told() -> None:
    with pytest.raises(Failed, match=r"spec.safety: shield rule r0: forbid: 7 is no action") as raised:
        played("test/Taken-v0", policy_of("test/Taken-v0"), {"forbid": [7]})
    assert raised.value.failure.reason == "ShieldInvalid"
