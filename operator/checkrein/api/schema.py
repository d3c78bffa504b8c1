"""Structural schemas (apiextensions.k8s.io/v1) from pydantic models.

The API server knows a dialect of OpenAPI v3 without references and `const`, and keys that it does not know vanish
without a word: so every key is named here, and one that is not raises. It takes null for absent, as our models do.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from checkrein.api.meta import format_duration

Schema = dict[str, Any]

_KEPT = (
    "type",
    "format",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "maxProperties",
    "required",
)
_CONVERTED = ("title", "description", "const", "default", "properties", "items", "additionalProperties")


class _AsWritten(GenerateJsonSchema):
    """Defaults as a person writes them: pydantic would show an hour as PT1H, which our own pattern refuses."""

    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def structural(model: type[BaseModel]) -> Schema:
    """The model's structural schema. Raises ValueError on what the dialect cannot express."""
    whole = model.model_json_schema(schema_generator=_AsWritten)
    definitions = whole.pop("$defs", {})
    return _convert(whole, definitions)


def without_defaults(schema: Schema) -> Schema:
    """A copy without any `default`."""
    copy = {key: value for key, value in schema.items() if key != "default"}
    return copy | _children(copy, without_defaults)


def _convert(node: Schema, definitions: Schema) -> Schema:
    node = _resolved(node, definitions)
    unknown = [key for key in node if key not in _KEPT + _CONVERTED and not key.startswith("x-kubernetes-")]
    if unknown:
        raise ValueError(f"no structural schema for {', '.join(unknown)} in {node}")
    out: Schema = {"description": " ".join(node["description"].split())} if "description" in node else {}
    out |= {key: value for key, value in node.items() if key not in _CONVERTED}
    if "const" in node:
        out["enum"] = [node["const"]]
    default = _shown(node.get("default"))
    if default is not None:
        out["default"] = default
    return out | _children(node, lambda child: _convert(child, definitions))


def _children(node: Schema, convert: Callable[[Schema], Schema]) -> Schema:
    """The node's schemas of members, items and values, converted."""
    out: Schema = {key: convert(node[key]) for key in ("items", "additionalProperties") if key in node}
    if "properties" in node:
        out["properties"] = {name: convert(child) for name, child in node["properties"].items()}
    return out


def _resolved(node: Schema, definitions: Schema) -> Schema:
    """The node with its reference, or its only alternative to null, put in place; what stands beside it wins."""
    beside = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
    if "$ref" in node:
        return _resolved(definitions[node["$ref"].removeprefix("#/$defs/")], definitions) | beside
    if "anyOf" in node:
        others = [choice for choice in node["anyOf"] if choice != {"type": "null"}]
        if len(others) != 1:
            raise ValueError(f"no structural schema for {node}: only X or null can be expressed")
        return _resolved(others[0], definitions) | beside
    return node


def _shown(default: Any) -> Any:
    """The default without what is empty and tells nobody anything; None where nothing is left. False and 0 stay."""
    if isinstance(default, dict):
        default = {key: value for key, value in ((k, _shown(v)) for k, v in default.items()) if value is not None}
    return None if default in ("", {}, []) else default
