"""What a person reads of a rollout, and what the operator needs to go on with it after any crash."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from checkrein.api.evidence import ShadowReport
from checkrein.api.meta import Count, DecimalString, Digest, FloatString, FreeForm, Message, Model, Name, ShortText

Verdict = Literal["Continue", "Pass", "Fail", "Inconclusive"]
State = Annotated[str, StringConstraints(max_length=4096)]


class GateStatus(Model):
    """How one gate stands."""

    name: Name = Field(description="Name of the gate.")
    metric: ShortText = Field(description="What is measured.")
    role: Literal["Prove", "Guard"] = Field(description="Prove: promotion waits for it.")
    verdict: Verdict = Field(description="Pass and Fail are for good. Continue: not enough is known yet.")
    message: Message = Field(default="", description="The verdict with its numbers, as a sentence for people.")
    stable: DecimalString | None = Field(default=None, description="Stable's mean.")
    candidate: DecimalString | None = Field(default=None, description="The candidate's mean.")
    interval: list[DecimalString] = Field(
        default_factory=list, max_length=2, description="Bounds of candidate minus stable, right at all times together."
    )
    units: Count = Field(default=0, description="Candidate units that it has seen.")
    expected: Count | None = Field(default=None, description="Candidate units that it may still need, roughly.")
    state: State = Field(default="", description="Of the test, for the operator.")


class StepStatus(Model):
    """Where the rollout is."""

    kind: Literal["Loading", "Shadow", "Canary", "Approval"] = Field(description="What happens now.")
    index: Count = Field(default=0, description="Number of the canary step, from 1.")
    weight: Count = Field(default=0, description="Per cent of new units that the candidate gets.")
    units: Count = Field(default=0, description="Candidate units scored in this step.")
    concurrent: Count | None = Field(
        default=None, description="Episodes that the candidate may hold at once per replica."
    )
    since: AwareDatetime | None = Field(default=None, description="When it began.")
    pausing_since: AwareDatetime | None = Field(
        default=None, description="When its units were complete and its pause began."
    )


class StreamStatus(Model):
    """How far the evidence of one replica's boot has been scored."""

    name: Annotated[str, StringConstraints(max_length=253)] = Field(description="Of its decision log.")
    pod: Annotated[str, StringConstraints(max_length=63)] = Field(default="", description="Where it runs or ran.")
    block: Count = Field(default=0, description="The next block to score.")
    position: Annotated[int, Field(ge=0, le=2**53)] = Field(
        default=0, description="Records up to this one are not needed any more."
    )
    gone_since: AwareDatetime | None = Field(default=None, description="Since when it does not answer.")
    closed: bool = Field(default=False, description="It is not waited for any more; what it did not tell is unknown.")


class RolloutStatus(Model):
    """One try of one candidate."""

    id: Annotated[str, StringConstraints(max_length=63)] = Field(description="Candidate and number of the try.")
    seed: Annotated[str, StringConstraints(max_length=64)] = Field(
        description="The published part of the assignment's seed; a key in a Secret tells arms."
    )
    attempt: Count = Field(default=1, description="Tries of this candidate here, this one included; gates spend alpha.")
    began: AwareDatetime = Field(description="When it began.")
    idle_seconds: Annotated[int, Field(ge=0, le=2**53)] = Field(
        default=0, description="Spent in pauses and under overrides; not counted by maxDuration."
    )
    idle_since: AwareDatetime | None = Field(
        default=None, description="Since when it is in a pause or under an override."
    )
    approved_steps: Count = Field(default=0, description="Steps whose pause a person has ended, this one included.")
    gates_digest: Digest | None = Field(default=None, description="Of the gates that the states belong to.")
    shadowed: Count = Field(default=0, description="Episodes shadowed and complete.")
    shadow: ShadowReport | None = Field(default=None, description="Where candidate and stable differ. Not a verdict.")
    scored: Count = Field(default=0, description="Candidate units scored in the canary so far.")
    counted_since: FloatString = Field(
        default=0.0,
        description="Units of Client and Window designs that began before this time (Unix time, seconds) are scored.",
    )
    findings: FreeForm = Field(default_factory=dict, description="What was odd in the evidence, and how often.")
    scored_at: AwareDatetime | None = Field(default=None, description="When evidence last changed anything here.")


class Try(Model):
    """How often a rollout of a version began here. Kept when it ends without a verdict, or its id would come twice."""

    name: Name = Field(description="Name of the PolicyVersion.")
    digest: Digest = Field(description="Of its manifest.")
    attempt: Count = Field(description="Rollouts of it that have begun.")


class HistoryEntry(Model):
    """One change of who acts, or a refusal. Whole in the store, the newest here."""

    seq: Count = Field(description="Number, from 1.")
    event: Literal["Promoted", "Rejected", "Aborted", "Inconclusive", "RolledBack", "Retried"] = Field(
        description="What became of it."
    )
    policy: Name = Field(description="The version that it is about.")
    digest: Digest = Field(description="Of its manifest.")
    since: Name | None = Field(default=None, alias="from", description="The version that was stable before.")
    time: AwareDatetime = Field(description="When, by the operator's clock.")
    epoch: Count | None = Field(default=None, description="Of one that began to act: the epoch that began with it.")
    by: Annotated[str, StringConstraints(max_length=320)] = Field(default="", description="Who, where a person did it.")
    reason: ShortText = Field(default="", description="Why, as one CamelCase word for programs.")
    message: Message = Field(default="", description="Why, as a sentence for people.")
    gates: list[GateVerdict] = Field(default_factory=list, max_length=32, description="The gates' last words.")
    stored: bool = Field(default=False, description="It is in the store, too.")


class GateVerdict(Model):
    """A gate's last word."""

    name: Name = Field(description="Name of the gate.")
    verdict: Verdict = Field(description="Continue: it had seen too little.")
    message: Message = Field(default="", description="The verdict with its numbers, as a sentence for people.")


class ReviewPair(Model):
    """Two episodes to compare, blind. Whose is whose is a keyed function of the id."""

    sample: Annotated[str, StringConstraints(max_length=64)] = Field(description="Id of the pair, for spec.rollout.")
    left: Annotated[str, StringConstraints(max_length=64)] = Field(description="Episode id, as in the decision log.")
    right: Annotated[str, StringConstraints(max_length=64)] = Field(description="Episode id, as in the decision log.")
    answered: bool = Field(default=False, description="Somebody has compared it.")


class WatchedStatus(Model):
    """How stable does against its own record in one respect."""

    metric: Literal["errors", "cost"] = Field(description="What is watched.")
    baseline: DecimalString | None = Field(default=None, description="Mean of its record.")
    recent: DecimalString | None = Field(default=None, description="Mean lately.")
    evidence: DecimalString | None = Field(default=None, description="Of the change detector; it alarms at 1/alpha.")
    state: State = Field(default="", description="Of the detector, for the operator.")


class WatchStatus(Model):
    """How stable does against its own record since its promotion."""

    baseline: DecimalString | None = Field(default=None, description="Mean return of its record.")
    units: Count = Field(default=0, description="Episodes that it has seen.")
    recent: DecimalString | None = Field(default=None, description="Mean return lately.")
    evidence: DecimalString | None = Field(default=None, description="Of the change detector; it alarms at 1/alpha.")
    state: State = Field(default="", description="Of the detector, for the operator.")
    others: list[WatchedStatus] = Field(
        default_factory=list, max_length=2, description="Errors and costs, as far as there is a record of them."
    )
    scored_at: AwareDatetime | None = Field(default=None, description="When evidence last changed anything here.")


HistoryEntry.model_rebuild()
