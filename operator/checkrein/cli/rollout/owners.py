"""Whose fields are whose: managed fields of server-side apply, and which of them belong to a repository.

A field manager's apply takes away what it owned and does not say again. So every apply of ours says again all that is
ours, on the very version of the object that it was read from.
(https://kubernetes.io/docs/reference/using-api/server-side-apply/)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from checkrein.cli.kube import FIELD_MANAGER

Raw = dict[str, Any]
Path = tuple[str, ...]
"""Below spec: names of fields, and `k:{"sample":"a"}` for an item of a list by its key, as managed fields spell it."""
GITOPS = ("argocd*", "flux*", "kustomize-controller", "helm-controller")
CLIENT_SIDE = "kubectl-client-side-apply"
DECLARED = "kubectl.kubernetes.io/last-applied-configuration"


def ours(obj: Mapping[str, Any]) -> Raw:
    """The part of the spec that an earlier apply of ours owns, with the values that it has now."""
    spec: Raw = {}
    for entry in _entries(obj):
        if _is_ours(entry):
            spec |= _extract(entry["fieldsV1"].get("f:spec", {}), obj["spec"])
    return spec


@dataclass(frozen=True, order=True)
class Owner:
    """A manager other than ours. `lasting`: it applies, so that it will say the same again."""

    manager: str
    lasting: bool


def others(obj: Mapping[str, Any], path: Path) -> list[Owner]:
    """Who else set the field at this path of the spec, or something within it."""
    return sorted(
        {
            Owner(entry["manager"], entry["operation"] == "Apply" or entry["manager"] == CLIENT_SIDE)
            for entry in _entries(obj)
            if not _is_ours(entry) and _owns(entry["fieldsV1"].get("f:spec", {}), path) and _said(entry, obj, path)
        }
    )


def is_gitops(manager: str, patterns: Sequence[str]) -> bool:
    """Does the name look like one of those that bring the content of a repository?"""
    return any(fnmatchcase(manager, pattern) for pattern in patterns)


def _is_ours(entry: Mapping[str, Any]) -> bool:
    return bool(entry["manager"] == FIELD_MANAGER and entry["operation"] == "Apply")


def _entries(obj: Mapping[str, Any]) -> Iterator[Raw]:
    yield from (e for e in obj["metadata"].get("managedFields", ()) if not e.get("subresource") and "fieldsV1" in e)


def _extract(fields: Mapping[str, Any], value: Any) -> Any:
    """The part of the value that a field set names. Empty: all of it."""
    if not any(key != "." for key in fields):
        return value
    if isinstance(value, list):
        keys = [json.loads(key[2:]) for key in fields if key.startswith("k:")]
        return [item for item in value if any(key.items() <= item.items() for key in keys)]
    known = {key[2:]: child for key, child in fields.items() if key.startswith("f:") and key[2:] in value}
    return {name: _extract(child, value[name]) for name, child in known.items()}


def _owns(fields: Mapping[str, Any], path: Path) -> bool:
    """A field, something within it, or as a whole something around it."""
    for name in path:
        key = name if name.startswith("k:") else f"f:{name}"
        if key not in fields:
            return False
        fields = fields[key]
        if not fields:
            return True
    return True


def _said(entry: Mapping[str, Any], obj: Mapping[str, Any], path: Path) -> bool:
    """Did the manager say so itself? Who creates or updates comes to own what the API server added by default, too."""
    if entry["operation"] == "Apply":
        return True
    declared = obj["metadata"].get("annotations", {}).get(DECLARED)
    if declared is not None:
        try:
            return _at(json.loads(declared).get("spec", {}), path) is not None
        except (ValueError, AttributeError):
            return True
    return _at(obj["spec"], path) is not False  # false is the default of spec.rollout.paused


def _at(value: Any, path: Path) -> Any:
    for name in path:
        if name.startswith("k:"):
            key = json.loads(name[2:])
            value = next((item for item in value or () if key.items() <= item.items()), None)
        else:
            value = value.get(name) if isinstance(value, dict) else None
    return value
