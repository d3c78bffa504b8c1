"""What the log keeps: one record for each decision, end, outcome and change of an override."""

from __future__ import annotations

import functools
import time
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec
import numpy as np

from checkrein.agent.episodes import Episode
from checkrein.agent.execution import Execution
from checkrein.agent.journal import Journal
from checkrein.agent.messages import Act, Outcome
from checkrein.agent.turn import Turn
from checkrein.api.deployment import Override
from checkrein.shield.arrays import Observation
from checkrein.store.decisions.parts import Parts
from checkrein.store.decisions.records import Closing, DecisionRecord, EndRecord, OutcomeRecord, OverrideRecord


@functools.lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def stamp(seconds: float) -> str:
    """RFC 3339 with microseconds, UTC."""
    whole, micros = divmod(int(seconds * 1_000_000), 1_000_000)
    return f"{_second(whole)}.{micros:06d}Z"


def digest(observation: Observation) -> str:
    """SHA-256 over the bytes of the elements in C order; of a Dict, over its keys and theirs in the keys' order."""
    if isinstance(observation, np.ndarray):
        return sha256(observation.tobytes()).hexdigest()
    parts = (key.encode() + b"\x00" + observation[key].tobytes() for key in sorted(observation))
    return sha256(b"".join(parts)).hexdigest()


@functools.lru_cache(maxsize=1024)
def _hash_of_number(action: int) -> str:
    return sha256(msgspec.json.encode(action)).hexdigest()


def action_hash(action: Any) -> str:
    """SHA-256 of the action's JSON, which has no spaces."""
    if type(action) is int:
        return _hash_of_number(action)
    return sha256(msgspec.json.encode(action)).hexdigest()


class Scribe:
    """Writes records of one deployment into the journal, and those of assigned episodes into the ledger as well.

    `agent_id` is namespace/name.
    """

    def __init__(self, journal: Journal, agent_id: str, parts: Parts) -> None:
        self._journal = journal
        self._agent_id = agent_id
        self._parts = parts

    def decision(self, turn: Turn, execution: Execution, *, forked: bool) -> int:
        """The record's number in the log."""
        policy, request = execution.policy, turn.request
        episode, unit = turn.episode, turn.episode.unit or None
        record = DecisionRecord(
            timestamp=stamp(turn.now),
            agent_id=self._agent_id,
            decision=turn.decision,
            episode=episode.id.hex(),
            step=episode.step,
            arm=episode.arm,
            regime=execution.regime,
            policy=policy.name if policy else "",
            policy_digest=policy.digest if policy else "",
            observation_digest=turn.digest,
            observation=request.observation if turn.full else None,
            proposed=execution.proposed,
            action=execution.action,
            action_hash=action_hash(execution.action),
            exploration_flag=execution.explored,
            propensity=execution.propensity,
            q_value=execution.value,
            reward=request.reward,
            cost=request.cost,
            objective=request.objective,
            shield=execution.rule,
            limited=execution.regime == "Limit",
            forked=forked,
            latency_us=int((time.perf_counter() - turn.began) * 1e6),
            caller=turn.caller,
            unit=unit,
            overridden=turn.overridden,
            groups=turn.groups,
        )
        number = self._journal.append(record)
        if unit is not None:
            self._parts.decided(number or self._journal.position, record, episode.started)
        return number

    def end(
        self,
        now: float,
        episode: Episode,
        request: Act | None,
        ending: Closing,
        policy: str,
        caller: str,
        cut: Execution | None = None,
    ) -> None:
        """An episode ended; without a request by its deadline, `cut` by a rule of the shield."""
        record = EndRecord(
            timestamp=stamp(now),
            agent_id=self._agent_id,
            episode=episode.id.hex(),
            step=episode.step,
            ending=ending,
            reward=request.reward if request else None,
            cost=request.cost if request else None,
            objective=request.objective if request else None,
            policy=policy,
            caller=caller,
            shield=cut.rule if cut else None,
            proposed=cut.proposed if cut else None,
            arm=episode.arm,
            unit=episode.unit or None,
        )
        number = self._journal.append(record)
        self._parts.ended(number or self._journal.position, record, episode.started)

    def outcome(self, now: float, told: Outcome, episode: Episode | None, caller: str) -> int:
        """Something became known later. The record's number in the log."""
        record = OutcomeRecord(
            timestamp=stamp(now),
            agent_id=self._agent_id,
            episode=episode.id.hex() if episode else None,
            decision=told.decision,
            reward=told.reward,
            cost=told.cost,
            objective=told.objective,
            final=told.final,
            caller=caller,
            id=told.id,
            arm=episode.arm if episode else "stable",
            unit=(episode.unit or None) if episode else None,
        )
        number = self._journal.append(record)
        if number:  # else the reporter is asked to tell it again
            self._parts.outcome(number, record, episode.started if episode else None)
        return number

    def override(self, now: float, generation: int, override: Override | None, effective: str) -> None:
        """The hand on the reins has changed; None: it was taken off, or its time is over."""
        self._journal.append(
            OverrideRecord(
                timestamp=stamp(now),
                agent_id=self._agent_id,
                generation=generation,
                mode=override.mode if override else "",
                policy=override.policy_version if override else None,
                action=override.action if override else None,
                reason=override.reason if override else "",
                by=override.by if override else "",
                until=override.until.isoformat() if override and override.until else None,
                effective=effective,
            )
        )
