"""The records of a bandit that stable plays with exploration while a candidate watches."""

from __future__ import annotations

from typing import Any

import numpy as np
from tests.store.decisions.writer import AGENT, decision

from checkrein.store.decisions.records import EndRecord, Record, ShadowRecord

EPSILON = 0.2


def bandit(rng: np.random.Generator, episodes: int, *, steps: int = 1, explore: bool = True) -> list[Record]:
    """Two actions. Stable's own is 0; the candidate's is 1 in every other episode, on which 1 wins 0.8 of the times
    and 0 wins 0.3; elsewhere 0 wins 0.3 and 1 never. Episodes are a second apart."""
    found: list[Record] = []
    for i in range(episodes):
        for step in range(steps):
            explored = explore and bool(rng.random() < EPSILON)
            action = int(rng.integers(2)) if explored else 0
            found += _both(f"e{i}", step, i, action, explored, explore)
        won = rng.random() < ((0.8 * (i % 2)) if action else 0.3)
        told: dict[str, Any] = {"timestamp": _at(i + 0.5), "agent_id": AGENT, "episode": f"e{i}", "step": steps}
        found.append(EndRecord(**told, ending="terminated", reward=float(won)))
    return found


def _both(episode: str, step: int, i: int, action: int, explored: bool, explores: bool) -> list[Record]:
    propensity = EPSILON / 2 + (1 - EPSILON) * (action == 0) if explores else 1.0
    made = decision(
        episode,
        step,
        timestamp=_at(i),
        proposed=action,
        action=action,
        propensity=propensity,
        exploration_flag=explored,
        reward=0.0 if step else None,
    )
    said = ShadowRecord(
        timestamp=made.timestamp,
        agent_id=AGENT,
        decision=made.decision,
        episode=episode,
        step=step,
        policy="cartpole-2",
        policy_digest="sha256:cd",
        action=i % 2,
        probability=float(action == i % 2),
        agreed=action == i % 2,
    )
    return [made, said]


def _at(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"2026-12-01T{12 + int(minutes) // 60:02d}:{int(minutes) % 60:02d}:{rest:09.6f}Z"
