"""What the log says: one record for each decision, end, outcome and override, and the log's own words about itself.

Times are RFC 3339 in UTC, in microseconds, by the replica's clock: order comes from the chain, never from them.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Regime = Literal["Policy", "Fallback", "Pin", "Action", "Limit"]
Closing = Literal["terminated", "truncated", "aborted", "deadline", "shield"]
Opinion = Literal["decided", "failed", "invalid", "dropped"]


class DecisionRecord(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="decision", tag_field="kind"):
    """One action that was answered. `reward`, `cost` and `objective` are those of the episode's previous action."""

    timestamp: str
    agent_id: str  # NAMESPACE/NAME of the AgentDeployment
    decision: str  # the same for every answer to one (episode, step): a retry's records fall together
    episode: str
    step: int
    arm: str = "stable"
    regime: Regime = "Policy"
    policy: str
    policy_digest: str
    observation_digest: str
    observation: Any = None  # JSON-ready or msgspec.Raw; only where the deployment asks for it
    proposed: Any  # what the policy or the exploration wanted
    action: Any  # what was answered, after shield, limits and override
    action_hash: str  # sha256 of the action's canonical JSON
    exploration_flag: bool = False
    propensity: float | None = None  # of the executed action
    q_value: float | None = None
    reward: float | None = None
    cost: float | None = None
    objective: float | None = None
    shield: str | None = None  # the rule that changed the action
    limited: bool = False
    forked: bool = False
    latency_us: float = 0
    caller: str = ""
    unit: str | None = None  # what a rollout assigned the episode as (judge.assignment)
    overridden: bool = False  # a person's word (spec.override) held
    groups: tuple[str, ...] = ()  # subgroups of the gates that the episode's first observation belongs to


class EndRecord(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="end", tag_field="kind"):
    """An episode is over after `step` decisions. `reward`, `cost` and `objective` are those of the last one.

    Aborted at step 0: nobody could decide at its start, so its caller never got a token.
    """

    timestamp: str
    agent_id: str
    episode: str
    step: int
    ending: Closing
    reward: float | None = None
    cost: float | None = None
    objective: float | None = None
    policy: str = ""
    caller: str = ""
    shield: str | None = None  # the rule that ended it
    proposed: Any = None  # the action that this rule did not let through
    arm: str = "stable"
    unit: str | None = None


class OutcomeRecord(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="outcome", tag_field="kind"):
    """What was told later, of one decision or of an episode as a whole. `final`: nothing more will come."""

    timestamp: str
    agent_id: str
    episode: str | None = None
    decision: str | None = None
    reward: float | None = None
    cost: float | None = None
    objective: float | None = None
    final: bool = False
    caller: str = ""
    id: str | None = None  # the reporter's own: an outcome told again is the same one
    arm: str = "stable"
    unit: str | None = None  # where it was told of an episode, by its token


class OverrideRecord(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="override", tag_field="kind"):
    """Who acts has changed by a person's word, or by its end (`mode` empty)."""

    timestamp: str
    agent_id: str
    generation: int
    mode: str
    policy: str | None = None
    action: Any = None
    reason: str = ""
    by: str = ""
    until: str | None = None
    effective: str = ""


class ShadowRecord(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="shadow", tag_field="kind"):
    """What the candidate of a rollout said to the observation of the decision with the same id. Nobody acted by it."""

    timestamp: str  # the decision's own
    agent_id: str
    decision: str
    episode: str
    step: int
    unit: str | None = None
    policy: str  # the candidate
    policy_digest: str
    observation_digest: str = ""
    outcome: Opinion = "decided"  # dropped: it was not asked, lest anybody wait
    action: Any = None  # None where it came to none, or the shield lets nothing through
    action_hash: str = ""
    q_value: float | None = None
    probability: float | None = None  # of the executed action, by the candidate alone: without exploration
    shield: str | None = None
    agreed: bool = False
    distance: float | None = None  # of the executed action and the candidate's, as a share of the space
    latency_us: float = 0  # of processor time
    error: str = ""


class End(msgspec.Struct, frozen=True):
    """Where a stream ends: its last record and the chain's hash there."""

    stream: str
    seq: int
    head: str


class OpenedRecord(msgspec.Struct, frozen=True, kw_only=True, tag="opened", tag_field="kind"):
    """First record of each stream. `previous`: where the folder's former stream ended, if there was one."""

    timestamp: str
    agent_id: str
    stream: str
    pod: str
    pod_uid: str
    boot: int
    previous: End | None = None


class ClosedRecord(msgspec.Struct, frozen=True, kw_only=True, tag="closed", tag_field="kind"):
    """Last record of a stream. `recovered`: written by the next boot, which cut `cut` unreadable bytes off."""

    timestamp: str
    recovered: bool = False
    cut: int = 0


class GapRecord(msgspec.Struct, frozen=True, kw_only=True, tag="gap", tag_field="kind"):
    """Here `lost` records are missing, because they could not be kept."""

    timestamp: str
    lost: int
    since: str
    reason: str


Record = (
    DecisionRecord | EndRecord | OutcomeRecord | OverrideRecord | ShadowRecord | OpenedRecord | ClosedRecord | GapRecord
)

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Record).decode
