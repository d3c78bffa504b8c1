"""What is tested of a candidate: gates with their margins, limits and subgroups."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints, WithJsonSchema

from checkrein.api.meta import DecimalString, Model, Name
from checkrein.api.rules import rule, validations

Metric = Literal["return", "cost", "errors", "slowDecisions", "shielded", "humanApproval", "offPolicy"]

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
        default=None,
        description="return without bounds: a declared bound on its variance, in either arm, for example 100.",
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
