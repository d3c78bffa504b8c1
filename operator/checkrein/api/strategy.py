"""How a new version earns its place: shadow, canary steps, gates; and what a person says to a rollout."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints, WithJsonSchema
from pydantic.config import JsonDict

from checkrein.api.meta import DecimalString, Duration, Model, Name
from checkrein.api.rules import rule, validations

Metric = Literal["return", "cost", "errors", "slowDecisions", "shielded", "humanApproval", "offPolicy"]
Unit = Literal["Episode", "Client", "Window"]
Weight = Annotated[int, Field(ge=1, le=99)]
Units = Annotated[int, Field(ge=1, le=1_000_000)]

LATENCY_PATTERN = r"^[1-9][0-9]{0,5}(us|ms|s)$"
_MICROS = {"us": 1, "ms": 1000, "s": 1_000_000}


def _parse_latency(value: object) -> object:
    if not isinstance(value, str):
        return value
    for unit, micros in _MICROS.items():
        digits = value.removesuffix(unit)
        if digits != value and digits.isascii() and digits.isdecimal() and len(digits) <= 6:
            return timedelta(microseconds=int(digits) * micros)
    raise ValueError(f"{value!r} is not a latency such as 500us, 5ms or 1s")


def _format_latency(value: timedelta) -> str:
    micros = round(value / timedelta(microseconds=1))
    return next(f"{micros // size}{unit}" for unit, size in reversed(_MICROS.items()) if micros % size == 0)


Latency = Annotated[
    timedelta,
    BeforeValidator(_parse_latency),
    PlainSerializer(_format_latency, return_type=str),
    WithJsonSchema({"type": "string", "maxLength": 8, "pattern": LATENCY_PATTERN}),
]


class Margin(Model):
    """How much worse a candidate may be, or how much better it must be."""

    of: Literal["StableMean", "Range", "Absolute"] = Field(
        description="StableMean: a share of stable's mean; needs reward.bounds.min of at least 0. "
        "Range: a share of reward.bounds. Absolute: in the metric's own unit."
    )
    value: DecimalString = Field(description='The share or the amount, at least 0, for example "0.05".')


class Subgroup(Model):
    """Episodes that a gate is about, told by their first observation, before anybody has decided."""

    name: Name = Field(description="What status and reports call it, for example steep-start.")
    when: Annotated[str, StringConstraints(min_length=1, max_length=1024)] = Field(
        description="CEL over observation and features, as in spec.shield, of an episode's first observation."
    )


class Clip(Model):
    """Where an unbounded return is cut."""

    min: DecimalString = Field(description='Returns below count as this, for example "-500".')
    max: DecimalString = Field(description='Returns above count as this, for example "500".')


class Gate(Model):
    """One test of the candidate against stable, right whenever one looks. Prove gates must pass, Guard gates may only
    stop."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "(self.test in ['NonInferior', 'Superior']) == has(self.margin)",
                "margin goes with NonInferior and Superior, and they need one",
                "margin",
            ),
            rule("(self.test == 'NotAbove') == has(self.limit)", "limit goes with NotAbove, and it needs one", "limit"),
            rule(
                "(self.metric == 'slowDecisions') == has(self.above)",
                "above goes with metric slowDecisions, and it needs one",
                "above",
            ),
            rule(
                "self.metric != 'return' && self.metric != 'offPolicy' || self.test in ['NonInferior', 'Superior']",
                "the metrics return and offPolicy are tested as NonInferior or Superior",
                "test",
            ),
            rule(
                "self.metric != 'humanApproval' || self.test in ['NonInferior', 'Superior'] && self.role == 'Prove'"
                " && has(self.margin) && self.margin.of == 'Absolute'",
                "humanApproval is proved as NonInferior or Superior, with a margin of Absolute",
                "test",
            ),
            rule(
                "!(self.metric in ['errors', 'slowDecisions', 'shielded', 'cost']) || self.test == 'NotAbove'",
                "costs and rates are tested as NotAbove",
                "test",
            ),
            rule("!has(self.margin) || double(self.margin.value) >= 0.0", "margin.value must be at least 0", "margin"),
            rule(
                "!has(self.margin) || self.margin.of == 'Absolute' || double(self.margin.value) < 1.0",
                "margin.value is a share, below 1",
                "margin",
            ),
            rule(
                "double(self.alpha) >= 0.000001 && double(self.alpha) <= 0.5",
                "alpha must be between 0.000001 and 0.5",
                "alpha",
            ),
            rule("!has(self.limit) || double(self.limit) >= 0.0", "limit must be at least 0", "limit"),
            rule(
                "!has(self.limit) || self.metric == 'cost' || double(self.limit) < 1.0",
                "limit is a share of decisions, below 1",
                "limit",
            ),
            rule(
                "!has(self.maximum) || self.metric == 'cost' && has(self.limit)"
                " && double(self.maximum) > double(self.limit)",
                "maximum goes with metric cost, and must be above limit",
                "maximum",
            ),
            rule(
                "self.metric != 'cost' || self.role != 'Prove' || has(self.maximum)",
                "to prove that cost is low takes its maximum",
                "maximum",
            ),
            rule(
                "!has(self.variance) || self.metric == 'return' && double(self.variance) > 0.0",
                "variance goes with metric return, and must be above 0",
                "variance",
            ),
            rule(
                "!has(self.clip) || self.metric == 'return' && double(self.clip.min) < double(self.clip.max)",
                "clip goes with metric return, and its min must be below its max",
                "clip",
            ),
            rule("!has(self.clip) || !has(self.variance)", "set clip or variance, not both", "clip"),
            rule(
                "self.guarantee == 'NonAsymptotic' || self.metric == 'return'"
                " && !has(self.clip) && !has(self.variance)",
                "Asymptotic goes with metric return, without clip and variance",
                "guarantee",
            ),
            rule(
                "!has(self.subgroup) || !(self.metric in ['humanApproval', 'offPolicy'])",
                "humanApproval and offPolicy are not told by subgroup",
                "subgroup",
            ),
        )
    )
    name: Name = Field(description="What status and reports call it, for example return.")
    metric: Metric = Field(
        description="return: of an episode, unwrapped. cost: of an episode. errors, slowDecisions, shielded: shares of "
        "an episode's decisions. humanApproval: what people say of sampled episodes. offPolicy: an estimate from "
        "logged exploration."
    )
    role: Literal["Prove", "Guard"] = Field(
        default="Guard",
        description="Prove: promotion waits until it passes. Guard: it stops a rollout on evidence only.",
    )
    test: Literal["NonInferior", "Superior", "NotAbove"] = Field(
        description="NonInferior: the mean is worse than stable's by less than margin. Superior: better by more than "
        "margin. NotAbove: the mean is at most limit."
    )
    margin: Margin | None = None
    limit: DecimalString | None = Field(default=None, description='What the mean may be, for example "0.01".')
    above: Latency | None = Field(default=None, description="slowDecisions: what counts as slow, for example 5ms.")
    maximum: DecimalString | None = Field(
        default=None, description='cost: what an episode can cost at most, for example "100". Proving needs it.'
    )
    variance: DecimalString | None = Field(
        default=None, description="return without bounds: a declared bound on its variance, in either arm."
    )
    clip: Clip | None = Field(
        default=None, description="return without bounds: it is clipped here, and the clipped episodes are counted."
    )
    guarantee: Literal["NonAsymptotic", "Asymptotic"] = Field(
        default="NonAsymptotic",
        description="Asymptotic: right for many episodes only (Waudby-Smith et al., 2024); needs no bounds.",
    )
    alpha: DecimalString = Field(
        default=Decimal("0.05"),
        description='How often it may err, for example "0.05".',
    )
    subgroup: Subgroup | None = None


class Shadow(Model):
    """The candidate decides on what stable sees; nobody acts by it, waits for it or sees it fail."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "double(self.share) > 0.0 && double(self.share) <= 1.0", "share must be above 0 and at most 1", "share"
            )
        )
    )
    units: Units = Field(description="Episodes that are shadowed before the canary begins, for example 50.")
    share: DecimalString = Field(
        default=Decimal(1),
        description='Share of the episodes that are shadowed, for example "0.25".',
    )


class Pause(Model):
    """A stop after a step's units. Without a duration it waits for a person (spec.rollout.approve)."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "!has(self.duration) || duration(self.duration) > duration('0s')",
                "duration must be above zero; without one the pause waits for a person",
                "duration",
            )
        )
    )
    duration: Duration | None = Field(default=None, description="For how long, for example 10m.")


class CanaryStep(Model):
    """A limit on exposure, never a test of its own."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule("has(self.units) || has(self.pause)", "a step has units, a pause or both", "units")
        )
    )
    weight: Weight = Field(description="Per cent of new units that the candidate gets, for example 5.")
    units: Units | None = Field(default=None, description="Candidate units that are scored before the next step.")
    concurrent: Units | None = Field(
        default=None, description="Episodes that the candidate may hold at once in each replica. Default: no limit."
    )
    pause: Pause | None = None


class Canary(Model):
    """The candidate acts for some, and is compared with stable."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "!has(self.maxDuration) || duration(self.maxDuration) > duration('0s')",
                "maxDuration must be above zero",
                "maxDuration",
            )
        )
    )
    steps: list[CanaryStep] = Field(
        min_length=1, max_length=16, description="How much it may act, in order. Gates run through all of them."
    )
    gates: Annotated[
        list[Gate],
        Field(
            min_length=1,
            max_length=16,
            description="What is tested, once over the whole rollout.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ]
    min_units: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=10, description="Candidate units without which no gate fails."
    )
    max_duration: Duration = Field(
        default=timedelta(hours=24),
        validate_default=True,
        description="Still undecided after this time, pauses and overrides aside: back to stable, for example 2h.",
    )


class Watch(Model):
    """Stable is watched against its own record after its promotion."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "double(self.alpha) >= 0.000001 && double(self.alpha) <= 0.5",
                "alpha must be between 0.000001 and 0.5",
                "alpha",
            ),
            rule("double(self.drop) > 0.0 && double(self.drop) < 1.0", "drop must be above 0 and below 1", "drop"),
        )
    )
    drop: DecimalString = Field(
        default=Decimal("0.1"),
        validate_default=True,
        description='By which share of reward.bounds the mean return must have fallen, for example "0.1".',
    )
    alpha: DecimalString = Field(
        default=Decimal("0.001"),
        description="A false alarm comes no sooner than after 1/alpha episodes on average.",
    )
    on_breach: Literal["Report", "Rollback"] = Field(
        default="Report",
        description="Report: condition StableHolds becomes False. Rollback: the version before becomes stable again.",
    )


class Strategy(Model):
    """Absent: a new version acts after its own checks."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule("has(self.shadow) || has(self.canary) || has(self.watch)", "set shadow, canary or watch", "canary"),
            rule(
                "(self.unit == 'Episode') == !has(self.window)",
                "window goes with the units Client and Window, and they need one",
                "window",
            ),
            rule(
                "!has(self.window) || duration(self.window) >= duration('10s')"
                " && duration(self.window) <= duration('168h')",
                "window must be between 10s and 168h",
                "window",
            ),
            rule(
                "!has(self.outcomeDeadline) || duration(self.outcomeDeadline) <= duration('168h')",
                "outcomeDeadline must be at most 168h",
                "outcomeDeadline",
            ),
            rule("!has(self.reference) || has(self.canary)", "reference goes with canary", "reference"),
        )
    )
    unit: Unit = Field(
        default="Episode",
        description="What is assigned and analysed. Client: where a client's episodes depend on each other. Window: "
        "where episodes at the same time do; all of them change hands together.",
    )
    window: Duration | None = Field(
        default=None,
        description="Client: what a client does in this time from its first episode is one unit. Window: its length.",
    )
    outcome_deadline: Duration = Field(
        default=timedelta(0),
        validate_default=True,
        description="How long after an episode's end a late reward still counts, for example 10m; 0s: none comes late.",
    )
    shadow: Shadow | None = None
    canary: Canary | None = None
    reference: Name | None = Field(
        default=None, description="A PolicyVersion whose evaluated mean return Prove gates are judged against as well."
    )
    watch: Watch | None = None


# Said as a whole: who says it anew by server-side apply leaves nothing of what somebody else said before.
_WHOLE: JsonDict = {"x-kubernetes-map-type": "atomic"}


class Approve(Model):
    """Go on, though the pause has not ended or the gates have not."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule("has(self.step) != has(self.full)", "set either step or full", "step"),
        )
        | _WHOLE
    )
    policy_version: Name = Field(description="The candidate that is meant; of another one it says nothing.")
    step: Annotated[int, Field(ge=0, le=16)] | None = Field(
        default=None, description="Number of the canary step (from 1) whose pause ends; 0: the shadow."
    )
    full: Literal[True] | None = Field(
        default=None,
        description="Promote now, without waiting for steps and gates; also the approval that spec.approval asks for.",
    )
    by: Annotated[str, StringConstraints(min_length=1, max_length=320)] = Field(
        description="Who: the name under which the API server knows the person."
    )


class Abort(Model):
    """Back to stable; the candidate is rejected."""

    model_config = ConfigDict(json_schema_extra=_WHOLE)
    policy_version: Name = Field(description="The candidate that is meant; of another one it says nothing.")
    by: Annotated[str, StringConstraints(max_length=320)] = Field(default="", description="Who.")
    reason: Annotated[str, StringConstraints(max_length=256)] = Field(default="", description="Why.")


class Retry(Model):
    """Try a rejected version once more. Its gates are stricter for it."""

    model_config = ConfigDict(json_schema_extra=_WHOLE)
    policy_version: Name = Field(description="The version that is meant.")
    nonce: Annotated[str, StringConstraints(min_length=1, max_length=63)] = Field(
        description="Another value for each retry."
    )


class Review(Model):
    """What a person says of a pair of sampled episodes (metric humanApproval), without knowing which is whose."""

    sample: Annotated[str, StringConstraints(min_length=1, max_length=64)] = Field(
        description="Id of the pair, from status.review."
    )
    answer: Literal["Left", "Right", "Equal"] = Field(description="Which one is better.")
    by: Annotated[str, StringConstraints(min_length=1, max_length=320)] = Field(description="Who.")


class RolloutWords(Model):
    """What a person says to the rollout. Each names its candidate; of another one it says nothing."""

    paused: bool = Field(default=False, description="No step, no promotion and no new candidate while true.")
    approve: Approve | None = None
    abort: Abort | None = None
    retry: Retry | None = None
    reviews: list[Review] = Field(
        default_factory=list,
        max_length=256,
        description="Answers to the pairs in status.review.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["sample"]},
    )
