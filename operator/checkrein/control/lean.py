"""What kopf imports though the operator never uses it: 25 MB of memory. To be imported before kopf."""

from __future__ import annotations

import importlib
import sys

import checkrein.lean  # noqa: F401 - the same for other libraries


def spare() -> None:
    """kopf looks for the classes of another client library, to tell its objects apart; here there are none of them.
    The image does not have that library; elsewhere the command has it."""
    if "kubernetes" not in sys.modules:
        sys.modules["kubernetes"] = None  # type: ignore[assignment]  # "cannot be imported", until kopf has looked
        importlib.import_module("kopf")
        del sys.modules["kubernetes"]


spare()
