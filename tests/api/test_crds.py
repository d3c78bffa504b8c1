"""The generated definitions: bounded, described, current, and YAML that every parser reads alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.cluster.cache import REPOSITORY

from checkrein.api import crds

Schema = dict[str, Any]


def schemas(node: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Every schema at and below the node, with its path."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from schemas(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from schemas(node[key], f"{path}[]")


def own(resource: crds.Resource) -> list[tuple[str, Schema]]:
    """Every schema of ours in a definition: what each Kubernetes object has is left out."""
    version = crds.definition(resource)["spec"]["versions"][0]
    fields = version["schema"]["openAPIV3Schema"]["properties"]
    return [found for name in ("spec", "status") for found in schemas(fields[name], f"{resource.kind}.{name}")]


# Elements of an action are as the library's spaces have them.
NUMBERS = {"AgentDeployment.spec.fallback.action[]", "AgentDeployment.spec.override.action[]"}
EVERY_SCHEMA = [found for resource in crds.RESOURCES for found in own(resource)]


def unbounded(schema: Schema) -> str:
    """What has no bound in this schema, itself alone."""
    if schema.get("x-kubernetes-int-or-string") or schema["type"] == "string":
        bounded = {"maxLength", "enum", "format"} & set(schema)
        return "" if bounded and schema.get("format", "date-time") == "date-time" else "string"
    if schema["type"] == "integer":
        return "" if {"minimum", "maximum"} <= set(schema) else "integer"
    if schema["type"] == "array":
        return "" if "maxItems" in schema else "list"
    if schema["type"] == "object":
        return "" if "maxProperties" in schema or "properties" in schema else "map"
    return "" if schema["type"] == "boolean" else schema["type"]


def test_everything_is_bounded() -> None:
    found = {path: unbounded(schema) for path, schema in EVERY_SCHEMA if unbounded(schema)}
    assert found == dict.fromkeys(NUMBERS, "number")


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        ({"type": "string"}, "string"),
        ({"type": "string", "format": "byte"}, "string"),
        ({"x-kubernetes-int-or-string": True}, "string"),
        ({"type": "integer", "minimum": 0, "format": "int32"}, "integer"),
        ({"type": "array", "items": {}}, "list"),
        ({"type": "object", "additionalProperties": {}}, "map"),
        ({"type": "object", "x-kubernetes-preserve-unknown-fields": True}, "map"),
        ({"type": "number"}, "number"),
    ],
)
def test_the_walk_would_find(schema: Schema, what: str) -> None:
    assert unbounded(schema) == what


def test_every_field_is_described() -> None:
    assert [path for path, schema in EVERY_SCHEMA if not path.endswith("[]") and not schema.get("description")] == []


def test_no_status_has_defaults_below_its_own() -> None:
    assert [p for p, schema in EVERY_SCHEMA if ".status." in p and "default" in schema] == []


def test_everybody_can_have_conditions_of_each_type_once() -> None:
    found = [schema for path, schema in EVERY_SCHEMA if path.endswith(".status.conditions")]
    assert len(found) == 4
    assert all(s["x-kubernetes-list-type"] == "map" and s["x-kubernetes-list-map-keys"] == ["type"] for s in found)


def test_the_generated_files_are_current() -> None:
    generated = crds.files()
    assert {path: (REPOSITORY / path).read_text() for path in generated} == generated
    found = [p for folder in ("crds", "charts/checkrein/templates/crds") for p in (REPOSITORY / folder).iterdir()]
    assert {str(path.relative_to(REPOSITORY)) for path in found} == set(generated)


@pytest.mark.parametrize("resource", crds.RESOURCES, ids=lambda resource: resource.kind)
def test_the_file_says_what_the_definition_says(resource: crds.Resource) -> None:
    text = crds.files()[f"crds/{resource.plural}.yaml"]
    assert yaml.safe_load(text) == crds.definition(resource)


def test_write_puts_every_file_below_the_directory(tmp_path: Any) -> None:
    crds.main(["write", str(tmp_path)])
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.yaml")} == set(crds.files())


@pytest.mark.parametrize("arguments", [[], ["read"], ["write", "a", "b"]])
def test_other_arguments_are_answered_with_the_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="usage"):
        crds.main(arguments)
