"""Bad and border values of one field, by its schema: below, at and above each bound, of other types, empty, twice."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]
Value = tuple[str, Any]
# Shapes that our patterns ask for, to be filled to a length.
SHAPES = ("a", "1s", "9", "sha256:" + "0" * 64, "system:serviceaccount:a:" + "b" * 296, "-" + "9" * 15 + "." + "9" * 9)


def values(schema: Schema, present: Any) -> Iterator[Value]:
    """What the field may not be, and what it may just be: (what it is, the value)."""
    if schema.get("x-kubernetes-int-or-string"):
        yield from [("a word", "lots"), ("a fraction", 1.5), ("nothing", ""), ("too long", "9" * 33), ("zero", 0)]
        return
    of_type = {"string": _text, "integer": _integer, "array": _list, "object": _object, "boolean": _flag}
    yield "another type", {"string": 7, "object": "text", "array": "text"}.get(schema["type"], "text")
    yield from of_type.get(schema["type"], _number)(schema, present)


def _text(schema: Schema, present: Any) -> Iterator[Value]:
    if "enum" in schema:
        yield "not of the list", "Sauce"
        yield from ((f"{value} of the list", value) for value in schema["enum"] if value != present)
        return
    if schema.get("format") == "date-time":
        yield from [("no time", "tomorrow"), ("a time without a zone", "2026-12-01T12:00:00")]
        return
    yield "empty", ""
    yield "unprintable", "a\x07\n\u202eb"
    if "pattern" in schema:
        yield "malformed", "? !"
    if most := schema.get("maxLength"):
        yield "too long", "a" * (most + 1)
        if longest := filled(schema, most):
            yield "as long as may be", longest


def filled(schema: Schema, length: int) -> str:
    """A text of this length that the pattern takes; empty where no shape fits."""
    pattern = schema.get("pattern", "")
    for shape in SHAPES:
        text = (shape * length)[:length]
        if not pattern or re.search(pattern, text):
            return text
    return ""


def _integer(schema: Schema, _: Any) -> Iterator[Value]:
    yield "a fraction", 1.5
    yield "a number as text", "1"
    yield from [("below the least", schema["minimum"] - 1), ("the least", schema["minimum"])]
    yield from [("above the greatest", schema["maximum"] + 1), ("the greatest", schema["maximum"])]


def _number(_: Schema, __: Any) -> Iterator[Value]:
    yield from [("null", None), ("huge", 1e308)]


def _flag(_: Schema, present: Any) -> Iterator[Value]:
    yield "the other one", not present


def _list(schema: Schema, present: Any) -> Iterator[Value]:
    yield "empty", []
    yield "of another type inside", [{"a": 1}] if schema["items"].get("type") != "object" else ["text"]
    if present:
        first = present[0]
        yield "one twice", [first, copy.deepcopy(first)]
        yield "too many", [first] * (schema["maxItems"] + 1)


def _object(schema: Schema, present: Any) -> Iterator[Value]:
    if "properties" in schema:
        yield "with an unknown field", {**(present or {}), "sauce": 1}
        yield "empty", {}
    elif most := schema.get("maxProperties"):
        value = next(iter((present or {"x": "1"}).values()))
        yield "with too many keys", {f"k{i}": value for i in range(most + 1)}
        yield "with an empty key", {"": value}
