"""Complete episodes of a policy, side by side.

Episode i is reset with `seeds[i]` and played to its end, whatever its length: counting the episodes that finish first
would favour short ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium

from checkrein.api.environment import RLEnvironmentSpec
from checkrein.train.failures import Failed
from checkrein.train.policy import Turn
from checkrein.train.seeds import acting_generator
from checkrein.wrappers.environments import make_environment

MOST_COPIES = 64
LONGEST = 10_000_000
"""Steps of one episode, where the environment sets no limit (spec.safety.maxEpisodeSteps allows no more either)."""

Env = gymnasium.Env[Any, Any]


class Acting(Protocol):
    """What evaluation needs of a policy."""

    def act(self, turns: Sequence[Turn]) -> Sequence[Any]:
        """One executable action for each turn; None ends its episode."""


@dataclass(frozen=True)
class Played:
    """Episode i of the seeds given: sum of unwrapped rewards, steps, decisions that a rule of the shield changed.

    `ended` are the episodes that a rule ended.
    """

    returns: list[float]
    lengths: list[int]
    shielded: list[int]
    ended: list[int]


class _Copy:
    """One environment and the episode that it is playing."""

    def __init__(self, env: Env) -> None:
        self.env = env
        self.episode = -1
        self.turn = Turn(None, acting_generator(0))
        self.total = 0.0
        self.length = self.shielded = 0

    def begin(self, episode: int, seed: int) -> None:
        self.episode, self.total, self.length, self.shielded = episode, 0.0, 0, 0
        self.turn = Turn(self.env.reset(seed=seed)[0], acting_generator(seed))

    def step(self, action: Any) -> bool:
        """Whether the episode ended. Raises Failed where it cannot be counted."""
        self.shielded += self.turn.rule is not None
        if action is None:
            return True
        self.turn.observation, reward, terminated, truncated, _ = self.env.step(action)
        self.total += float(reward)
        self.length += 1
        if not math.isfinite(self.total):
            raise self._failed("NotFinite", f"step {self.length} gave reward {reward}; correct the environment")
        if self.length >= LONGEST:
            raise self._failed("EpisodeNeverEnds", f"took {LONGEST} steps; set spec.safety.maxEpisodeSteps")
        return terminated or truncated

    def _failed(self, reason: str, what: str) -> Failed:
        return Failed(reason, f"evaluation episode {self.episode}: {what}", permanent=True)


def evaluate(spec: RLEnvironmentSpec, policy: Acting, seeds: Sequence[int]) -> Played:
    """Play one episode for each seed. Raises Failed where a reward is not finite or an episode does not end."""
    played = Played([math.nan] * len(seeds), [0] * len(seeds), [0] * len(seeds), [])
    waiting = iter(enumerate(seeds))
    with ExitStack() as stack:
        copies = [_Copy(stack.enter_context(closing(make_environment(spec)))) for _ in seeds[:MOST_COPIES]]
        for copy in copies:
            copy.begin(*next(waiting))
        while copies:
            actions = policy.act([copy.turn for copy in copies])
            copies = [c for c, action in zip(copies, actions, strict=True) if _advance(c, action, played, waiting)]
    return played


def _advance(copy: _Copy, action: Any, played: Played, waiting: Iterator[tuple[int, int]]) -> bool:
    """One step, then the next episode if this one ended. Whether the copy has anything left to play."""
    if not copy.step(action):
        return True
    played.returns[copy.episode], played.lengths[copy.episode] = copy.total, copy.length
    played.shielded[copy.episode] = copy.shielded
    if action is None:
        played.ended.append(copy.episode)
    following = next(waiting, None)
    if following is not None:
        copy.begin(*following)
    return following is not None
