"""What the four resources share: the base model, bounded scalar types, object metadata, conditions.

Every string, list and map has a bound, because the API server prices validation rules by the worst case.
Numbers that a person writes are decimal strings: a float does not survive every YAML and JSON tool unchanged.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from checkrein.api.rules import rule, validations

GROUP = "checkrein.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


class Model(BaseModel):
    """Base of everything that crosses a process boundary: camelCase outside, snake_case inside.

    Unknown fields are ignored on reading: an old agent must not go deaf when the CRD grows.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    def dump(self) -> dict[str, Any]:
        """As JSON-ready data in the API's spelling, without what is unset (server-side apply rejects null)."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


# Six digits and 20 characters: below 2^63 nanoseconds, which is what a CEL duration holds.
DURATION_PATTERN = r"^([0-9]{1,6}(h|m|s))+$"
_DURATION_PART = re.compile(r"([0-9]+)(h|m|s)")
_SECONDS = {"h": 3600, "m": 60, "s": 1}


def parse_duration(value: object) -> object:
    """`1h30m`, `20m`, `90s` as a timedelta; anything else is handed on for pydantic to judge."""
    if not isinstance(value, str):
        return value
    if not re.match(DURATION_PATTERN, value):
        raise ValueError(f"{value!r} is not a duration such as 90s, 20m or 1h30m")
    return timedelta(seconds=sum(int(n) * _SECONDS[unit] for n, unit in _DURATION_PART.findall(value)))


def format_duration(value: timedelta) -> str:
    """The inverse of `parse_duration`, in whole seconds: `1h30m`, `90s` as `1m30s`, zero as `0s`."""
    left, parts = int(value.total_seconds()), []
    for unit, seconds in _SECONDS.items():
        count, left = divmod(left, seconds)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


DECIMAL_PATTERN = r"^-?[0-9]{1,15}(\.[0-9]{1,9})?$"


def _parse_decimal(value: object) -> object:
    if isinstance(value, str) and not re.match(DECIMAL_PATTERN, value):
        raise ValueError(f"{value!r} is not a decimal number such as 475 or 0.95")
    return value


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "maxLength": 20, "pattern": DURATION_PATTERN}),
]
DecimalString = Annotated[
    Decimal,
    BeforeValidator(_parse_decimal),
    PlainSerializer(lambda value: format(value, "f"), return_type=str),
    WithJsonSchema({"type": "string", "maxLength": 26, "pattern": DECIMAL_PATTERN}),
]

# At most 20 digits follow the point: 17 that count, after three zeros (smaller numbers have an exponent).
FLOAT_PATTERN = r"^(nan|-?inf|-?[0-9]{1,17}(\.[0-9]{1,20})?(e[-+]?[0-9]{1,3})?)$"
# A measured number: a float in our code, in the API the shortest decimal string that reads as the same float.
FloatString = Annotated[
    float,
    PlainSerializer(repr, return_type=str),
    WithJsonSchema({"type": "string", "maxLength": 26, "pattern": FLOAT_PATTERN}),
]

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
Name = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=NAME_PATTERN)]
Digest = Annotated[str, StringConstraints(max_length=71, pattern=r"^sha256:[0-9a-f]{64}$")]
ShortText = Annotated[str, StringConstraints(max_length=256)]
Message = Annotated[str, StringConstraints(max_length=1024)]
Image = Annotated[str, StringConstraints(max_length=512)]
Uid = Annotated[str, StringConstraints(max_length=64)]
Count = Annotated[int, Field(ge=0, le=2_147_483_647)]
# Arguments that belong to a library: the API server keeps them as they are, the library's own code judges them.
FreeForm = Annotated[
    dict[str, Any],
    Field(max_length=64),
    WithJsonSchema({"type": "object", "maxProperties": 64, "x-kubernetes-preserve-unknown-fields": True}),
]
QUANTITY_PATTERN = r"^[0-9]{1,15}(\.[0-9]{1,9})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
Quantity = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, int) else value),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "maxLength": 32, "pattern": QUANTITY_PATTERN}),
]

MESSAGE_LIMIT = 1024
REASON_LIMIT = 256


def bounded(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """Text cut to `limit` characters: conditions and events must not grow with somebody's traceback."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


class Condition(Model):
    """A condition as in metav1.Condition."""

    type: ShortText = Field(description="What it is about, for example Ready.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: ShortText = Field(description="Why, as one CamelCase word for programs.")
    message: Message = Field(default="", description="Why, as a sentence for people.")
    observed_generation: int = Field(
        default=0, ge=0, le=2**53, description="metadata.generation of the object that this was said of."
    )
    last_transition_time: AwareDatetime = Field(description="Since when `status` has been what it is.")


Conditions = Annotated[
    list[Condition],
    Field(
        max_length=16,
        description="What holds of the object, one entry for each type.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    ),
]
OBSERVED_GENERATION = "metadata.generation that the rest of the status speaks of."


class ObjectMeta(Model):
    """The part of metav1.ObjectMeta that Checkrein reads."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class Resources(Model):
    """Compute of a container, in Kubernetes quantities."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "!has(self.requests) || !has(self.limits) || self.requests.all(k, !(k in self.limits)"
                " || quantity(string(self.requests[k])).compareTo(quantity(string(self.limits[k]))) <= 0)",
                "requests must not exceed limits",
                "requests",
            )
        )
    )
    requests: dict[str, Quantity] = Field(
        default_factory=dict, max_length=16, description="What is reserved, for example cpu: 500m."
    )
    limits: dict[str, Quantity] = Field(
        default_factory=dict, max_length=16, description="What is never exceeded, for example memory: 2Gi."
    )


class Toleration(Model):
    """A taint that the pods put up with, as in core/v1."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "has(self.key) && self.key != '' || has(self.operator) && self.operator == 'Exists'",
                "key may be empty only where operator is Exists",
                "key",
            ),
            rule(
                "!has(self.operator) || self.operator != 'Exists' || !has(self.value) || self.value == ''",
                "value must be empty where operator is Exists",
                "value",
            ),
            rule(
                "!has(self.tolerationSeconds) || has(self.effect) && self.effect == 'NoExecute'",
                "tolerationSeconds goes with effect NoExecute only",
                "tolerationSeconds",
            ),
        )
    )
    key: ShortText | None = Field(
        default=None, description="The taint's key, for example nvidia.com/gpu; absent: every key."
    )
    operator: Literal["Exists", "Equal"] | None = Field(
        default=None, description="How value is compared. Default: Equal."
    )
    value: ShortText | None = Field(
        default=None, description="The taint's value, where operator is Equal, for example training."
    )
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="The taint's effect; absent: every effect."
    )
    toleration_seconds: Annotated[int, Field(ge=0, le=2**53)] | None = Field(
        default=None,
        description="Seconds for which a NoExecute taint is put up with, for example 300. Default: for ever.",
    )


class PodTemplate(Model):
    """Where pods run and what they may use."""

    resources: Resources = Resources()
    node_selector: dict[str, ShortText] = Field(
        default_factory=dict,
        max_length=32,
        description="Labels that a node must have, for example kubernetes.io/arch: amd64.",
    )
    tolerations: list[Toleration] = Field(
        default_factory=list, max_length=16, description="Taints that the pods put up with."
    )


class LocalReference(Model):
    """An object of this namespace."""

    name: Name = Field(description="Its metadata.name, for example cartpole.")


class FileReference(Model):
    """One object in the store, by content."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=512)] = Field(description="Its key in the bucket.")
    digest: Digest = Field(description="Of its bytes.")
    size: Annotated[int, Field(ge=0, le=2**53)] = Field(description="Its bytes, counted.")
