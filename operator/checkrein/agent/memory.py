"""What a network remembers from step to step. A little travels in the token; more stays at the replica that made it."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from checkrein.agent.book import Entry
from checkrein.agent.episodes import STATE_LIMIT, Episode, Tokens
from checkrein.agent.kernel import States
from checkrein.agent.policies import Policy
from checkrein.agent.problems import Problem, state_elsewhere


class Memory:
    """Gets a network's state out of a token, and into the next one."""

    def __init__(self, tokens: Tokens, replica: str) -> None:
        self._tokens = tokens
        self._replica = replica

    def recall(self, episode: Episode, policy: Policy, entry: Entry | None) -> States:
        """The state to go on with; the initial one where another policy acted before. Raises Problem."""
        initial = policy.kernel.initial_state
        if not initial or episode.step == 0:
            return initial
        if episode.state_at:
            return self._kept(episode, policy, entry)
        data = self._tokens.reveal(episode, policy.key) if episode.state else None
        return _unpacked(data, initial) if data is not None else initial

    def keep(self, following: Episode, policy: Policy | None, state: States, entry: Entry) -> Episode:
        """The episode after this step, with what has to be remembered."""
        if policy is None or not state:
            return following
        data = b"".join(np.ascontiguousarray(part).tobytes() for part in state)
        if len(data) <= STATE_LIMIT:
            return msgspec.structs.replace(following, state=self._tokens.hide(following, policy.key, data))
        entry.keep(following.step, policy.key, state)
        return msgspec.structs.replace(following, state_at=self._replica)

    def _kept(self, episode: Episode, policy: Policy, entry: Entry | None) -> States:
        kept = entry.states.get(episode.step) if entry else None
        if kept is None:
            raise _lost(episode, self._replica)
        key, state = kept
        return state if key == policy.key else policy.kernel.initial_state


def _lost(episode: Episode, here: str) -> Problem:
    if episode.state_at == here:
        return state_elsewhere("this replica no longer has what the network remembered (it was restarted, or is full)")
    return state_elsewhere(f"what the network remembers is too large to travel and stays at replica {episode.state_at}")


def _unpacked(data: bytes, initial: States) -> States:
    state, at = [], 0
    for part in initial:
        size = math.prod(part.shape) * part.dtype.itemsize
        state.append(np.frombuffer(data[at : at + size], part.dtype).reshape(part.shape))
        at += size
    return tuple(state)
