"""Mutations of the samples, told from the CRDs' schemas: numbered, and the same in every run.

As in Acto (Gu et al., "Acto: Automatic End-to-End Testing for Operation Correctness of Cloud System Management",
SOSP 2023) each one changes one field; unlike there, each rule of the schema has a conflict of its own as well.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from tests.api.objects import MISSING, changed
from tests.cluster.cache import REPOSITORY
from tests.faults.mutation_conflicts import conflicts
from tests.faults.mutation_donors import DONORS
from tests.faults.mutation_references import references
from tests.faults.mutation_values import Schema, values

from checkrein.api import crds

Raw = dict[str, Any]
SAMPLES = {
    "RLEnvironment": "cartpole/environment.yaml",
    "TrainingJob": "cartpole/training.yaml",
    "AgentDeployment": "cartpole/agent.yaml",
}


@dataclass(frozen=True)
class Mutation:
    """One bad or border object. `path` is the field that was changed, `what` says how."""

    number: int
    kind: str
    path: str
    what: str
    obj: Raw

    @property
    def title(self) -> str:
        return f"{self.number} {self.kind} {self.path}: {self.what}"

    @property
    def words(self) -> set[str]:
        """By any of these a message names the field."""
        return {part for part in self.path.split(".") if part not in ("spec", "metadata") and not part.isdigit()}


def sample(kind: str) -> Raw:
    """The good object. PolicyVersions are published, never written: here is what one looks like."""
    if kind == "PolicyVersion":
        return copy.deepcopy(DONORS[kind][0])
    read: Raw = yaml.safe_load((REPOSITORY / "manifests/samples" / SAMPLES[kind]).read_text())
    return read


def mutations() -> list[Mutation]:
    """All of them, numbered from 1."""
    found: dict[str, tuple[str, str, str, Raw]] = {}
    for kind, path, what, obj in _all():
        found.setdefault(f"{kind} {obj}", (kind, path, what, obj))  # two ways to the same object are one
    return [Mutation(number, *each) for number, each in enumerate(found.values(), 1)]


def _all() -> Iterator[tuple[str, str, str, Raw]]:
    for resource in crds.RESOURCES:
        good = sample(resource.kind)
        schema = crds.definition(resource)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        for path, what, obj in _of_fields(resource.kind, good, schema, "spec", required=True):
            yield resource.kind, path, what, obj
        for path, what, obj in (*conflicts(resource.kind), *references(resource.kind, good)):
            yield resource.kind, path, what, obj


def _of_fields(kind: str, good: Raw, schema: Schema, path: str, *, required: bool) -> Iterator[tuple[str, str, Raw]]:
    """The field's own mutations, then those of what it holds."""
    base = completed(kind, good, path)
    if base is None:
        return
    here = at(base, path)
    if here is MISSING:
        here = None
    elif required or at(good, path) is not MISSING:
        yield path, "taken out", changed(base, path, MISSING)
    if required:
        yield path, "null", changed(base, path, None)
    for what, value in values(schema, here):
        yield path, what, changed(base, path, value)
    for name, child in schema.get("properties", {}).items():
        yield from _of_fields(kind, good, child, f"{path}.{name}", required=name in schema.get("required", ()))
    if "items" in schema and "properties" in schema["items"]:
        inside = schema["items"]
        for name, child in inside["properties"].items():
            yield from _of_fields(kind, good, child, f"{path}.0.{name}", required=name in inside.get("required", ()))


def completed(kind: str, good: Raw, path: str) -> Raw | None:
    """The sample, with what a fuller object has where the sample lacks the field; None where nobody has it."""
    parts = path.split(".")
    if at(good, path) is not MISSING:
        return copy.deepcopy(good)
    donor = next((d for d in DONORS[kind] if at(d, path) is not MISSING), None)
    parent = next((d for d in DONORS[kind] if at(d, ".".join(parts[:-1])) is not MISSING), None)
    if donor is None and parent is None:
        return None
    for end in range(1, len(parts) + 1):
        prefix = ".".join(parts[:end])
        if at(good, prefix) is MISSING:
            given = at(donor or parent, prefix)
            return changed(good, prefix, None if given is MISSING else copy.deepcopy(given))
    return None


def at(obj: Any, path: str) -> Any:
    """What stands at the dotted path; MISSING where nothing does."""
    for part in path.split("."):
        try:
            obj = obj[int(part)] if isinstance(obj, list) else obj[part]
        except (KeyError, IndexError, TypeError, ValueError):
            return MISSING
    return obj
