"""Structural schemas from models: every construct that ours use, and a refusal of what the dialect lacks."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from checkrein.api.meta import DecimalString, Duration, FreeForm, Quantity
from checkrein.api.schema import structural, without_defaults


class Inner(BaseModel):
    """What is   inside,
    over two lines."""

    size: Annotated[int, Field(ge=1, le=9)] = 3
    label: str = ""


class Outer(BaseModel):
    given: str = Field(max_length=5, description="Given.")
    maybe: Annotated[int, Field(ge=0)] | None = None
    one: Literal["a"] = "a"
    some: Literal["a", "b"] = "b"
    flag: bool = False
    inner: Inner = Inner()
    named: Inner | None = Field(default=None, description="Named here.")
    hidden: list[Inner] = Field(default_factory=list, max_length=2)
    map: dict[str, Inner] = Field(default_factory=dict, max_length=2)
    span: Duration | None = None
    wait: Duration = timedelta(minutes=90)
    rate: list[float] = Field(default_factory=list, max_length=2)
    bar: DecimalString = "1"  # type: ignore[assignment]
    free: FreeForm = Field(default_factory=dict)
    room: Quantity | None = None


INNER = {
    "description": "What is inside, over two lines.",
    "type": "object",
    "properties": {"size": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3}, "label": {"type": "string"}},
}
FIELDS = structural(Outer)["properties"]


@pytest.mark.parametrize(
    ("field", "schema"),
    [
        pytest.param("given", {"description": "Given.", "type": "string", "maxLength": 5}, id="titles are dropped"),
        pytest.param("maybe", {"type": "integer", "minimum": 0}, id="null means absent"),
        pytest.param("one", {"type": "string", "enum": ["a"], "default": "a"}, id="a constant is an enum of one"),
        pytest.param("some", {"type": "string", "enum": ["a", "b"], "default": "b"}, id="literals are an enum"),
        pytest.param("flag", {"type": "boolean", "default": False}, id="False is a default that shows something"),
        pytest.param("inner", INNER | {"default": {"size": 3}}, id="references are put in place, empty defaults drop"),
        pytest.param("named", INNER | {"description": "Named here."}, id="the field's description beats the model's"),
        pytest.param("hidden", {"type": "array", "maxItems": 2, "items": INNER}, id="lists"),
        pytest.param("map", {"type": "object", "maxProperties": 2, "additionalProperties": INNER}, id="maps"),
        pytest.param(
            "free",
            {"type": "object", "maxProperties": 64, "x-kubernetes-preserve-unknown-fields": True},
            id="what belongs to a library is kept as it is",
        ),
    ],
)
def test_fields(field: str, schema: dict[str, Any]) -> None:
    assert FIELDS[field] == schema


def test_what_has_no_default_is_required() -> None:
    assert structural(Outer)["required"] == ["given"]


def test_a_default_is_shown_as_a_person_would_write_it() -> None:
    assert FIELDS["wait"]["default"] == "1h30m"


def test_a_list_of_numbers_is_one() -> None:
    assert FIELDS["rate"] == {"type": "array", "maxItems": 2, "items": {"type": "number"}}


@pytest.mark.parametrize("field", ["span", "bar"])
def test_durations_and_decimals_are_bounded_strings_with_a_pattern(field: str) -> None:
    assert FIELDS[field]["type"] == "string"
    assert {"maxLength", "pattern"} <= set(FIELDS[field])


def test_a_quantity_is_a_number_or_a_string() -> None:
    assert "type" not in FIELDS["room"]
    assert FIELDS["room"]["x-kubernetes-int-or-string"] is True


def test_without_defaults_reaches_every_depth() -> None:
    assert "default" not in str(without_defaults(structural(Outer)))


class Pair(BaseModel):
    pair: tuple[int, str]


class Above(BaseModel):
    above: Annotated[int, Field(gt=0)]


class Either(BaseModel):
    either: int | str


@pytest.mark.parametrize(
    ("model", "says"),
    [
        pytest.param(Pair, "prefixItems", id="tuples"),
        pytest.param(Above, "exclusiveMinimum", id="exclusive bounds, which are flags in this dialect"),
        pytest.param(Either, "only X or null", id="alternatives"),
    ],
)
def test_what_the_dialect_lacks_is_refused_and_not_dropped(model: type[BaseModel], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        structural(model)
