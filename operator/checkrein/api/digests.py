"""Content digests over canonical JSON (RFC 8785 in spirit: sorted keys, no white space, UTF-8)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from checkrein.api.meta import Model


def sha256(data: bytes) -> str:
    """`sha256:<hex>` of the bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def canonical_json(value: Any) -> bytes:
    """The one spelling of JSON-ready data. Raises ValueError on NaN and infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def canonical(model: Model) -> bytes:
    """The one spelling of a model: fields at their defaults are left out, so that a new field changes no digest."""
    return canonical_json(model.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True))
