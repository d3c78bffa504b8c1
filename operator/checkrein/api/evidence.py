"""What a replica knows of the episodes it had a part in: `GET /evidence?after=N` on its management port.

Parts are cumulative and named by (stream, episode): the same part read twice is the same part. Positions are numbers of
records in the replica's decision log, so that a vanished replica's stored log answers the same question.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from checkrein.api.meta import Count, FloatString, Model

Sequence = Annotated[int, Field(ge=0)]
EVIDENCE = "/evidence"
PARTS_LIMIT = 20_000
"""Parts that a replica keeps, and sends at most, the oldest first."""


class Part(Model):
    """What one replica saw of one episode. A step that was decided twice counts once, by its first record."""

    episode: str
    unit: str = Field(description="What the episode was assigned as (judge.assignment).")
    arm: Literal["stable", "candidate"]
    policy: str = Field(default="", description="Name of the PolicyVersion that it stands with.")
    started: float = Field(description="When the episode began, seconds since the epoch.")
    first: Sequence = Field(description="Number of its first record here.")
    last: Sequence = Field(description="Number of its last record here.")
    steps: list[tuple[int, int]] = Field(description="Half-open ranges of the steps decided here, ascending.")
    rewarded: list[tuple[int, int]] = Field(
        default_factory=list, description="Half-open ranges of the steps whose reward was told here, ascending."
    )
    reward: float = 0.0
    cost: float = 0.0
    objective: float = 0.0
    late_reward: float = Field(default=0.0, description="Told by a reporter, each outcome once.")
    late_cost: float = 0.0
    outcomes: dict[str, tuple[float, float]] = Field(
        default_factory=dict,
        description="By id, reward and cost of those in these sums: told at two replicas it counts once.",
    )
    final: bool = Field(default=False, description="A reporter said that nothing more will follow.")
    decided: int = 0
    failed: int = Field(default=0, description="Decisions that the episode's policy could not take.")
    overridden: int = Field(default=0, description="Decisions under an override.")
    shielded: int = 0
    slow: dict[str, int] = Field(default_factory=dict, description="By latency (5ms): decisions that took longer.")
    findings: dict[str, int] = Field(
        default_factory=dict, description="By name (notFinite, forked, unseen): what was odd, and how often."
    )
    groups: list[str] = Field(default_factory=list, description="Subgroups, where it began here.")
    forked: bool = False
    ended: Literal["", "terminated", "truncated", "aborted", "deadline", "shield"] = ""
    ended_at: float | None = Field(default=None, description="When it ended here, seconds since the epoch.")
    length: int | None = Field(default=None, description="Steps of the whole episode, once it has ended here.")
    shadow: ShadowPart | None = None


class ShadowPart(Model):
    """What the candidate said to the same observations, of one episode."""

    compared: int = 0
    agreed: int = 0
    failed: int = 0
    invalid: int = 0
    shielded: int = 0
    slow: dict[str, int] = Field(default_factory=dict)
    dropped: int = 0


class Example(Model):
    """One decision on which the two differ, to replay."""

    decision: Annotated[str, StringConstraints(max_length=128)] = Field(description="Id, as in the decision log.")
    observation: list[FloatString] = Field(
        default_factory=list, max_length=64, description="Its first elements, in C order."
    )
    stable: list[FloatString] = Field(max_length=64, description="The first elements of stable's action.")
    candidate: list[FloatString] = Field(max_length=64, description="The first elements of the candidate's action.")
    distance: FloatString = Field(description="Between the actions, as a share of the space.")


class FeatureDifference(Model):
    """Where in one element of the observation they differ. `agreed` and `differed` are means of it."""

    name: Annotated[str, StringConstraints(max_length=64)] = Field(description="Of the feature, or its number.")
    agreed: FloatString = Field(description="Its mean where they agreed.")
    differed: FloatString = Field(description="Its mean where they differed.")
    effect: FloatString = Field(description="Difference of the means in standard deviations.")


class ShadowReport(Model):
    """Where candidate and stable differ. Divergence is not badness: it says where to look, never who is better."""

    compared: Count = Field(default=0, description="Decisions that both have made.")
    agreed: Count = Field(default=0, description="Those on which both took the same action.")
    failed: Count = Field(default=0, description="Those at which the candidate failed.")
    invalid: Count = Field(default=0, description="Those at which its action was not one of the space.")
    shielded: Count = Field(default=0, description="Those at which a shield rule would have changed its action.")
    dropped: Count = Field(default=0, description="Those that it was not asked for, lest anybody wait.")
    distance: FloatString = Field(default=0.0, description="Mean distance of the actions, as a share of the space.")
    value: FloatString | None = Field(
        default=None, description="Mean of candidate's value minus stable's, where both have one."
    )
    actions: dict[str, Count] = Field(
        default_factory=dict,
        max_length=64,
        description="Discrete actions: `stable>candidate` and how often; the commonest 64.",
    )
    features: list[FeatureDifference] = Field(
        default_factory=list, max_length=32, description="Where in the observation they differ, the clearest first."
    )
    examples: list[Example] = Field(default_factory=list, max_length=8, description="Decisions to replay.")
    latency_p50_us: FloatString | None = Field(default=None, description="Median of its latency, microseconds.")
    latency_p99_us: FloatString | None = Field(default=None, description="Its 99th percentile.")


class Evidence(Model):
    """A replica's answer. `upto` is its log's last record. Parts with `last` above the asked position, unfinished ones
    too; those with `last` up to the position asked for are forgotten once they have ended or their deadline passed."""

    stream: str = Field(description="Of the replica's log: pod, its uid and boot.")
    upto: Sequence
    lost_before: Sequence = Field(
        default=0, description="Parts up to this position are incomplete: there were too many."
    )
    now: float = Field(description="The replica's clock, seconds since the epoch.")
    rollout: str = Field(default="", description="Id of the rollout that it assigns for; empty for none.")
    parts: list[Part] = Field(default_factory=list, max_length=PARTS_LIMIT)
    shadow: ShadowReport | None = None


class OffPolicyEstimate(Model):
    """What the candidate's mean return would have been. `refused` says why there is no number."""

    refused: str = Field(default="", description="Why the log does not carry an estimate; empty where it does.")
    episodes: int = 0
    effective: float = Field(default=0.0, description="Effective sample size.")
    horizon: int = 0
    candidate: float | None = None
    stable: float | None = None
    lower: float | None = Field(default=None, description="Of candidate minus stable, right at all times together.")
    upper: float | None = None


Part.model_rebuild()
