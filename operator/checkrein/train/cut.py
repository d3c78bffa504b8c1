"""Episodes that end early, once, on demand."""

from __future__ import annotations

from typing import Any

import gymnasium


class Cut(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Truncates the running episode after a number of steps. Stands outside Monitor: a cut episode has no return."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self._left = 0

    def cut_after(self, steps: int) -> None:
        """Of the episode that was just begun."""
        self._left = steps

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """The next episode is not cut."""
        self._left = 0
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the environment's own, but for the cut."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._left -= 1
        return observation, reward, terminated, truncated or self._left == 0, info
