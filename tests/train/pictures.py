"""Environments that render in their own ways; importing this module registers them as `pictures/...`."""

from __future__ import annotations

import os
import threading
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces


class Picture(gymnasium.Env[Any, Any]):
    """Four steps of grey."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return np.full(2, self.steps / 4, np.float32), 1.0, self.steps >= 4, False, {}

    def render(self) -> Any:
        return np.full((20, 30, 3), 40 * self.steps % 256, np.uint8)


class Long(Picture):
    def step(self, action: Any) -> Any:
        observation, reward, *_ = super().step(action)
        return observation, reward, False, self.steps >= 1500, {}


class Crashes(Picture):
    def render(self) -> Any:
        os.abort()


class Hangs(Picture):
    def render(self) -> Any:
        threading.Event().wait()


class Text(Picture):
    def render(self) -> Any:
        return "....|"


class Blind(Picture):
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["human"]}


class Chatty(Picture):
    def render(self) -> Any:
        print("Hello from the community.")
        return super().render()


class Forgetful(Picture):
    """No two episodes of a seed are alike."""

    played = 0

    def step(self, action: Any) -> Any:
        observation, _, *rest = super().step(action)
        Forgetful.played += 1
        return observation, float(Forgetful.played), *rest


class Once(Picture):
    """Refuses a seed of evaluation that it has seen."""

    seen: ClassVar[set[int]] = set()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None and seed >= 2**30:
            if seed in Once.seen:
                raise RuntimeError(f"seed {seed} again")
            Once.seen.add(seed)
        return super().reset(seed=seed)


for kind in (Picture, *Picture.__subclasses__()):
    gymnasium.register(f"pictures/{kind.__name__}-v0", kind)
