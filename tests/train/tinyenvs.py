"""Tasks with a known best policy, one for each pair of spaces; importing this module registers them as `tiny/...`."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Echo(gymnasium.Env[Any, Any]):
    """The first element of the observation says which action is paid 1; episodes take four steps."""

    def __init__(self, observation: spaces.Space[Any], action: spaces.Space[Any], scale: float = 1.0) -> None:
        self.observation_space, self.action_space, self.scale = observation, action, scale

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        self.steps = 0
        self.seen = self.observation_space.sample()
        return self.seen, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        reward = self.scale * float(self.wanted() == self.first_bit(action))
        self.steps += 1
        self.seen = self.observation_space.sample()
        return self.seen, reward, self.steps >= 4, False, {}

    def wanted(self) -> bool:
        """One bit of the observation, of a Dict's member `told`."""
        seen, space = self.seen, self.observation_space
        if isinstance(space, spaces.Dict):
            seen, space = seen["told"], space["told"]
        first = np.asarray(seen).ravel()[0]
        if isinstance(space, spaces.Box):
            return bool(first > (space.low.ravel()[0] / 2 + space.high.ravel()[0] / 2))
        start = space.start if isinstance(space, spaces.Discrete) else 0
        return bool((first - start) % 2)

    def first_bit(self, action: Any) -> bool:
        """One bit of the action."""
        first = np.asarray(action).ravel()[0]
        if isinstance(self.action_space, spaces.Box):
            return bool(first > (self.action_space.low.ravel()[0] / 2 + self.action_space.high.ravel()[0] / 2))
        start = self.action_space.start if isinstance(self.action_space, spaces.Discrete) else 0
        return bool((first - start) % 2)


class Bright(Echo):
    """An image, dark or bright all over with some noise; action 1 is paid where it is bright."""

    def __init__(self) -> None:
        super().__init__(spaces.Box(0, 255, (36, 36, 1), np.uint8), spaces.Discrete(2))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.seen = self.picture()
        return self.seen, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        outcome = super().step(action)
        self.seen = self.picture()
        return self.seen, *outcome[1:]

    def picture(self) -> Any:
        light = 200 * int(self.np_random.integers(2))
        return self.np_random.integers(light, light + 56, (36, 36, 1), dtype=np.uint8)

    def wanted(self) -> bool:
        return bool(self.seen.mean() > 128)


class Recall(Echo):
    """Action 1 is paid in the episodes whose first observation was 1; the later ones, all 2, say nothing."""

    def __init__(self) -> None:
        super().__init__(spaces.Discrete(3), spaces.Discrete(2))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.told = self.seen = int(self.np_random.integers(2))
        return self.seen, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        outcome = super().step(action)
        self.seen = 2
        return self.seen, *outcome[1:]

    def wanted(self) -> bool:
        return bool(self.told)


class Guarded(Echo):
    """The first half of the choices is forbidden in every second step, the other half in those between."""

    def action_masks(self) -> Any:
        sizes = self.action_space.nvec if isinstance(self.action_space, spaces.MultiDiscrete) else [self.action_space.n]
        first = self.steps % 2 == 0
        return np.concatenate([(np.arange(size) < size / 2) == first for size in sizes])

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        sizes = self.action_space.nvec if isinstance(self.action_space, spaces.MultiDiscrete) else [self.action_space.n]
        starts = np.cumsum([0, *sizes[:-1]])
        assert self.action_masks()[starts + np.ravel(action)].all(), f"{action} is forbidden in step {self.steps}"
        return super().step(action)


OBSERVATIONS: dict[str, spaces.Space[Any]] = {
    "Box": spaces.Box(-3.0, 5.0, (3,), np.float32),
    "Wide": spaces.Box(-1e3, 3e3, (2, 2), np.float64),
    "Image": spaces.Box(0, 255, (12, 12, 1), np.uint8),
    "Discrete": spaces.Discrete(4),
    "Shifted": spaces.Discrete(4, start=-2),
    "MultiDiscrete": spaces.MultiDiscrete([2, 3]),
    "MultiBinary": spaces.MultiBinary(3),
    # Large enough for convolutions, channels last and channels first.
    "Camera": spaces.Box(0, 255, (36, 40, 3), np.uint8),
    "Planes": spaces.Box(0, 255, (1, 36, 36), np.uint8),
    "Dict": spaces.Dict(
        {
            "told": spaces.Discrete(4, start=1),
            "type": spaces.Box(-1e3, 3e3, (2,), np.float64),
            "camera": spaces.Box(0, 255, (36, 36, 1), np.uint8),
            "icon": spaces.Box(0, 255, (4, 4, 3), np.uint8),
            "flags": spaces.MultiBinary(2),
            "modes": spaces.MultiDiscrete([2, 3]),
        }
    ),
}
ACTIONS: dict[str, spaces.Space[Any]] = {
    "Discrete": spaces.Discrete(2),
    "Shifted": spaces.Discrete(3, start=5),
    "Box": spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 0.5], np.float32)),
    "MultiDiscrete": spaces.MultiDiscrete([2, 4, 3]),
    "MultiBinary": spaces.MultiBinary(4),
}
TABLE = spaces.Box(np.array([[-2.0, 0.0], [0.1, -7.0]], np.float32), np.array([[2.0, 0.5], [0.3, 0.0]], np.float32))
for observation in OBSERVATIONS:
    for action in ACTIONS:
        gymnasium.register(
            f"tiny/{observation}{action}-v0",
            Echo,
            kwargs={"observation": OBSERVATIONS[observation], "action": ACTIONS[action]},
        )
gymnasium.register("tiny/Bright-v0", Bright)
gymnasium.register("tiny/Recall-v0", Recall)
GUARDED = {"Discrete": spaces.Discrete(4), "MultiDiscrete": spaces.MultiDiscrete([4, 4])}
for name, guarded in GUARDED.items():
    gymnasium.register(
        f"tiny/Guarded{name}-v0", Guarded, kwargs={"observation": OBSERVATIONS["Discrete"], "action": guarded}
    )
NUMBER = spaces.Box(-1.0, 3.0, (), np.float32)
gymnasium.register("tiny/BoxNumber-v0", Echo, kwargs={"observation": OBSERVATIONS["Box"], "action": NUMBER})
gymnasium.register("tiny/BoxTable-v0", Echo, kwargs={"observation": OBSERVATIONS["Box"], "action": TABLE})
DICTS = {
    "Told": {"told": spaces.Discrete(4, start=1), "type": spaces.Box(-1, 1, (2,), np.float32)},
    "Scaleless": {"told": spaces.Discrete(4), "icon": spaces.Box(0, 255, (4, 4, 3), np.uint8)},
    "Crossed": {"told": spaces.Box(0, 255, (4, 4, 3), np.uint8), "planes": OBSERVATIONS["Planes"]},
}
for name, members in DICTS.items():
    gymnasium.register(
        f"tiny/{name}Discrete-v0",
        Echo,
        kwargs={"observation": spaces.Dict(members), "action": ACTIONS["Discrete"]},  # type: ignore[arg-type]
    )
