"""Validation rules that the API server evaluates (CEL, `x-kubernetes-validations`), written beside the fields.

A rule on a field is not asked where the field is absent, so whatever concerns an optional field stands at its parent.
"""

from __future__ import annotations

from typing import Any

Rule = dict[str, str]


def rule(expression: str, message: str, field: str = "") -> Rule:
    """The object is refused with this message, at this field, unless the expression holds."""
    return {"rule": expression, "message": message} | ({"fieldPath": f".{field}"} if field else {})


def fixed(field: str, instead: str) -> Rule:
    """The field keeps what it was created with: set, unset and every value."""
    expression = f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
    return rule(expression, f"{field} cannot change after creation; {instead}", field)


def validations(*rules: Rule) -> dict[str, Any]:
    """As pydantic's `json_schema_extra`."""
    return {"x-kubernetes-validations": list(rules)}
