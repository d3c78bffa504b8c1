"""The chart's values as its schema describes them, and the table of them in the docs."""

from __future__ import annotations

import functools
import json
from typing import Any

import yaml
from tests.cluster.cache import REPOSITORY

CHART = REPOSITORY / "charts" / "checkrein"
Raw = dict[str, Any]


@functools.cache
def _schema() -> Raw:
    found: Raw = json.loads((CHART / "values.schema.json").read_text())
    return found


def described() -> dict[str, str]:
    """Each value by its dotted name, and its description."""
    return _described("", _schema())


def _described(name: str, schema: Raw) -> dict[str, str]:
    if name == "global":  # helm's own
        return {}
    if "properties" not in schema:
        return {name: schema.get("description", "")}
    dot = f"{name}." if name else ""
    return {key: text for part, s in schema["properties"].items() for key, text in _described(dot + part, s).items()}


def defaults() -> dict[str, Any]:
    """Each value of values.yaml by its dotted name; a map that the schema leaves to Kubernetes is one value."""
    found: dict[str, Any] = {}
    names = described()

    def walk(name: str, value: Any) -> None:
        if name not in names and isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{name}.{key}" if name else key, inner)
        else:
            found[name] = value

    walk("", yaml.safe_load((CHART / "values.yaml").read_text()))
    return found


def open_maps() -> set[str]:
    """Names of maps, outside of lists, that take any key."""

    def walk(name: str, schema: Raw) -> set[str]:
        if schema.get("type") != "object":
            return set()
        if schema.get("additionalProperties") is not False:
            return {name}
        dot = f"{name}." if name else ""
        return {found for part, s in schema["properties"].items() for found in walk(dot + part, s)}

    return walk("", _schema())


def table() -> str:
    """Markdown: each value, its default, what it does."""
    texts = described()
    lines = ["| value | default | meaning |", "|---|---|---|"]
    for name, default in defaults().items():
        shown = json.dumps(default).replace("|", "\\|")
        lines.append(f"| `{name}` | `{shown}` | {texts[name].replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"
