"""YAML for people and for every parser: block style, nothing implicit.

PyYAML writes the key `n` bare, which Kubernetes' parser reads as false. Here a text stands bare only if it looks
like a word and no YAML version gives it another meaning; all else is quoted as JSON, which YAML contains.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_BARE = re.compile(r"[A-Za-z$][\w$./-]*(?: [\w$./-]+)*")
_MEANS_SOMETHING = re.compile(r"(y|n|yes|no|on|off|true|false|null|inf|nan)", re.IGNORECASE)


def dump(value: Any) -> str:
    """The JSON-ready value as a YAML document that ends in a newline."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, child in value.items():
            yield from _entry(f"{_scalar(key)}:", child)
    elif isinstance(value, list) and value:
        for child in value:
            first, *rest = _lines(child)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
    else:
        yield _scalar(value)


def _entry(head: str, child: Any) -> Iterator[str]:
    if isinstance(child, (dict, list)) and child:
        yield head
        yield from (f"  {line}" for line in _lines(child))
    else:
        yield f"{head} {_scalar(child)}"


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _BARE.fullmatch(value) and not _MEANS_SOMETHING.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)
