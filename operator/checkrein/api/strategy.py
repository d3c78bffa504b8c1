"""How a new version earns its place: shadow, canary steps, gates, and the watch after its promotion."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from checkrein.api.gates import Gate
from checkrein.api.meta import DecimalString, Duration, Model, Name
from checkrein.api.rules import rule, validations

Unit = Literal["Episode", "Client", "Window"]
Weight = Annotated[int, Field(ge=1, le=99)]
Units = Annotated[int, Field(ge=1, le=1_000_000)]


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
    units: Units | None = Field(
        default=None, description="Candidate units that are scored before the next step, for example 50."
    )
    concurrent: Units | None = Field(
        default=None,
        description="Episodes that the candidate may hold at once in each replica, for example 2. Default: no limit.",
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


class WatchedCost(Model):
    """By how much an episode's cost may have risen."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "double(self.rise) > 0.0 && double(self.rise) < double(self.maximum)",
                "rise must be above 0 and below maximum",
                "rise",
            ),
        )
    )
    rise: DecimalString = Field(description='Of the mean cost of an episode, in its own unit, for example "5".')
    maximum: DecimalString = Field(
        description='What an episode costs at most, for example "100"; what costs more counts as this.'
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
            rule(
                "!has(self.errors) || double(self.errors) > 0.0 && double(self.errors) < 1.0",
                "errors must be above 0 and below 1",
                "errors",
            ),
        )
    )
    drop: DecimalString = Field(
        default=Decimal("0.1"),
        validate_default=True,
        description='By which share of reward.bounds the mean return must have fallen, for example "0.1".',
    )
    errors: DecimalString | None = Field(
        default=None,
        description="By how much the share of decisions that fail must have risen, for example "
        '"0.02". Absent: errors are not watched.',
    )
    cost: WatchedCost | None = Field(
        default=None, description="How the mean cost must have risen. Absent: costs are not watched."
    )
    alpha: DecimalString = Field(
        default=Decimal("0.001"),
        description="A false alarm comes no sooner than after 1/alpha episodes on average, whatever is watched.",
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
        default=None,
        description="A PolicyVersion whose evaluated mean return Prove gates are judged against as "
        "well, for example cartpole-1.",
    )
    watch: Watch | None = None
