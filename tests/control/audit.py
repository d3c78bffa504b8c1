"""What the operator asked of the API server, by its audit log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

USER = "operator-of-the-tests"


def requests(log: Path, namespace: str) -> Iterator[dict[str, Any]]:
    """Requests that the operator made in a namespace, oldest first."""
    for line in log.read_text().rpartition("\n")[0].splitlines():  # of the last one a part may be written yet
        if USER in line:
            event = json.loads(line)
            if event["user"]["username"] == USER and event.get("objectRef", {}).get("namespace") == namespace:
                yield event


def describe(event: dict[str, Any]) -> str:
    """For example `patch trainingjobs/a/status`."""
    target = event["objectRef"]
    path = "/".join(filter(None, (target["resource"], target.get("name"), target.get("subresource"))))
    return f"{event['verb']} {path}"


def writes(log: Path, namespace: str) -> list[str]:
    """What the operator wrote, or tried to."""
    return [describe(event) for event in requests(log, namespace) if event["verb"] not in ("get", "list", "watch")]


def refusals(log: Path, namespace: str) -> list[str]:
    """What the API server refused as invalid."""
    return [describe(e) for e in requests(log, namespace) if e.get("responseStatus", {}).get("code") == 422]
