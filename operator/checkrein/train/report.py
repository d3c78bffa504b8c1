"""The termination message: a report's JSON in at most 4,096 bytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from checkrein.api.digests import canonical_json
from checkrein.api.meta import Model, bounded
from checkrein.api.tasks import REPORT_FILE, REPORT_LIMIT

REPORT_VARIABLE = "CHECKREIN_REPORT"


def write(report: Model) -> None:
    """Leave the report where the kubelet looks for it. Raises OSError, ValueError (see `serialize`)."""
    Path(os.environ.get(REPORT_VARIABLE, REPORT_FILE)).write_bytes(serialize(report))


def serialize(report: Model, limit: int = REPORT_LIMIT) -> bytes:
    """The report's JSON, its `message` texts cut until it fits. Raises ValueError where even that is too long."""
    for length in (1024, 512, 256, 128, 64, 32):
        data = canonical_json(_shorten(report.dump(), length))
        if len(data) <= limit:
            return data
    raise ValueError(f"the report takes more than {limit} bytes without its messages")


def _shorten(value: Any, length: int) -> Any:
    if isinstance(value, list):
        return [_shorten(item, length) for item in value]
    if isinstance(value, dict):
        return {
            key: bounded(item, length) if key == "message" and isinstance(item, str) else _shorten(item, length)
            for key, item in value.items()
        }
    return value
