"""The dashboards' queries as Grafana would send them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.cache import REPOSITORY

MONITORING = REPOSITORY / "manifests" / "monitoring"
FILES = sorted((MONITORING / "dashboards").glob("*.json"))
NAME = re.compile(r"\bcheckrein_\w+")


@dataclass(frozen=True)
class Asked:
    """One query of one panel or annotation."""

    board: str
    panel: str
    expression: str
    legend: str
    unit: str = ""
    kind: str = ""

    def filled(self, variables: Mapping[str, str]) -> str:
        """With the variables' values in their places."""
        expression = self.expression
        for name, value in variables.items():
            expression = expression.replace(f"${name}", value)
        return expression


def load(file: Path) -> dict[str, Any]:
    """The dashboard."""
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def panels(board: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All that show something, those in rows included."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels", ())
        else:
            yield panel


def queries(file: Path) -> list[Asked]:
    """All queries of all panels."""
    board = load(file)
    return [
        Asked(
            file.stem,
            panel["title"],
            target["expr"],
            target.get("legendFormat", ""),
            panel.get("fieldConfig", {}).get("defaults", {}).get("unit", ""),
            panel["type"],
        )
        for panel in panels(board)
        for target in panel["targets"]
    ]


def marks(file: Path) -> list[Asked]:
    """All queries of all annotations."""
    listed = load(file)["annotations"]["list"]
    return [Asked(file.stem, mark["name"], mark["expr"], mark["titleFormat"]) for mark in listed]
