"""Whom an object names, within its namespace: the cache keeps this the other way round, as client-go's indexers do, so
that nobody has to look at all objects to find those that name one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Raw = Mapping[str, Any]
Reference = tuple[str, str]
"""Kind and name. `Policy` is no kind: it is what the versions of one policy name in common."""


def named(obj: Raw) -> set[Reference]:
    """What an object of ours names, as its spec and its status say."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    if obj["kind"] == "AgentDeployment":
        return {("PolicyVersion", name) for name in _versions(spec, status)}
    if obj["kind"] == "TrainingJob":
        return _reference("RLEnvironment", spec.get("environmentRef"))
    if obj["kind"] == "PolicyVersion":
        users = {("AgentDeployment", user.partition("/")[2]) for user in status.get("usedBy", ())}
        family = {("Policy", spec["policy"])} if "policy" in spec else set()
        return users | family | _reference("RLEnvironment", spec.get("environment"))
    return set()


def _reference(kind: str, part: Raw | None) -> set[Reference]:
    return {(kind, part["name"])} if part and "name" in part else set()


def _versions(spec: Raw, status: Raw) -> set[str]:
    """`rollout.names_observed`, and whoever acts, of an object as it is in the cache."""
    reserve = (spec, spec.get("fallback") or {}, spec.get("override") or {})
    reference = (spec.get("strategy") or {}).get("reference")
    pointers = {(status.get(pointer) or {}).get("name") for pointer in ("stable", "candidate")}
    acted = {entry.get("from") for entry in status.get("history", ())}
    found = {reference, *(part.get("policyVersion") for part in reserve), *pointers, *acted}
    return {name for name in found if name}
