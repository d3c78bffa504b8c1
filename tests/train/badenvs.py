"""Environments that misbehave, each in one way; importing this module registers them as `bad/...`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Fine(gymnasium.Env[Any, Any]):
    """Five steps of reward 1; the others differ from it in one thing."""

    observation_space: spaces.Space[Any] = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space: spaces.Space[Any] = spaces.Discrete(2)
    length = 5

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self.observe(), self.reward(), self.steps >= self.length, False, {}

    def observe(self) -> Any:
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)

    def reward(self) -> float:
        return 1.0


class Segfault(Fine):
    def step(self, action: Any) -> Any:
        os.kill(os.getpid(), signal.SIGSEGV)
        return super().step(action)


class Exit(Fine):
    def reset(self, **_: Any) -> Any:
        os._exit(3)


class Hang(Fine):
    def step(self, action: Any) -> Any:
        print("hanging", file=sys.stderr, flush=True)
        threading.Event().wait()
        return super().step(action)


class Raises(Fine):
    def __init__(self, level: int = 1) -> None:
        if level > 1:
            raise ValueError(f"level {level} does not exist")

    def step(self, action: Any) -> Any:
        raise RuntimeError("the simulator is not licensed")


class NaNObservation(Fine):
    def observe(self) -> Any:
        return super().observe() * (np.float32("nan") if self.steps == 3 else 1)


class NaNReward(Fine):
    def reward(self) -> float:
        return float("nan") if self.steps == 3 else 1.0


class NeverEnds(Fine):
    length = 10**9


class RaisesLater(Fine):
    """Fails in training, long after a probe."""

    def __init__(self) -> None:
        self.total = 0

    def step(self, action: Any) -> Any:
        self.total += 1
        if self.total > 300:
            raise RuntimeError("the simulator lost its connection")
        return super().step(action)


class Unseeded(Fine):
    def observe(self) -> Any:
        return np.random.default_rng().uniform(-1, 1, 2).astype(np.float32)


class DeepObservation(Fine):
    observation_space = spaces.Dict({"a": spaces.Dict({"b": spaces.Discrete(2)})})

    def observe(self) -> Any:
        return {"a": {"b": 0}}


class NaNMember(Fine):
    observation_space = spaces.Dict({"a": Fine.observation_space})

    def observe(self) -> Any:
        return {"a": super().observe() * (np.float32("nan") if self.steps == 3 else 1)}


class UnboundedAction(Fine):
    action_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)


class ManyBounds(Fine):
    observation_space = spaces.Box(-np.arange(1, 501, dtype=np.float32), np.float32(1), dtype=np.float32)

    def observe(self) -> Any:
        return np.zeros(500, np.float32)


class NoSeed(Fine):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.steps = 0
        return np.zeros(2, np.float32), {}


for kind in Fine.__subclasses__():
    gymnasium.register(f"bad/{kind.__name__}-v0", kind)
gymnasium.register("bad/Fine-v0", Fine)
