"""Do the installed CustomResourceDefinitions fit this operator? Until they do, it stays unready and does nothing.

A field that the installed schema lacks is dropped without a word, or fails every status write; a rule that it lacks is
a promise that nobody keeps. What a newer release adds is left alone, as Kubernetes' API conventions ask.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from checkrein.api import crds
from checkrein.api.meta import VERSION
from checkrein.control.children import held_by
from checkrein.control.cluster import ApiError, Cluster

Raw = Mapping[str, Any]
log = logging.getLogger("checkrein")
AT_MOST = ("maxLength", "maxItems", "maxProperties", "maximum")
AT_LEAST = ("minLength", "minItems", "minProperties", "minimum")
WRITTEN = frozenset({"PolicyVersion"})  # kinds whose spec the operator writes, too
MEND = (
    "Install the CRDs of the operator's release (`helm upgrade`, or `kubectl apply --server-side --force-conflicts -f "
    "crds/`) or the operator of theirs; until then the operator does nothing"
)


def misfit(resource: crds.Resource, installed: Raw | None) -> str:
    """Why the operator cannot work with this definition, and the mend; empty where it can."""
    found = list(_misfits(resource, installed))
    if not found:
        return ""
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    name = crds.name(resource)
    return f"CustomResourceDefinition {name} does not fit this operator: {found[0]}{more}. {MEND}"


def _misfits(resource: crds.Resource, installed: Raw | None) -> Iterator[str]:
    if installed is None:
        yield "it is not installed"
        return
    if held := held_by(installed):
        yield f"it {held}"
        return
    told = {c["type"]: c["status"] for c in installed.get("status", {}).get("conditions") or ()}
    version = next((v for v in installed["spec"]["versions"] if v["name"] == VERSION), None)
    if version is None or not version["served"] or told.get("Established") != "True":
        yield f"version {VERSION} is not served"
        return
    if "status" not in version.get("subresources", {}):
        yield "it has no subresource status"
    ours = crds.definition(resource)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    theirs = version["schema"]["openAPIV3Schema"]
    yield from _lacking_rules("the object", ours, theirs)
    for field, written in (("spec", resource.kind in WRITTEN), ("status", True)):
        yield from _compared(field, ours["properties"][field], theirs.get("properties", {}).get(field), written=written)


def _compared(path: str, ours: Raw, theirs: Raw | None, *, written: bool) -> Iterator[str]:
    """What the operator would miss below this field. `written`: it writes the field, so bounds must not be tighter."""
    if theirs is None:
        yield f"{path} is missing"
        return
    if theirs.get("type") != ours.get("type"):
        yield f"{path} is of type {theirs.get('type')}, not {ours.get('type')}"
        return
    yield from _lacking_rules(path, ours, theirs)
    if written:
        yield from _tighter(path, ours, theirs)
    for name, child in ours.get("properties", {}).items():
        yield from _compared(f"{path}.{name}", child, theirs.get("properties", {}).get(name), written=written)
    for key in ("items", "additionalProperties"):
        if isinstance(ours.get(key), Mapping):
            yield from _compared(f"{path}[]", ours[key], theirs.get(key), written=written)


def _lacking_rules(path: str, ours: Raw, theirs: Raw) -> Iterator[str]:
    kept = {rule["rule"] for rule in theirs.get("x-kubernetes-validations", ())}
    for rule in ours.get("x-kubernetes-validations", ()):
        if rule["rule"] not in kept:
            yield f"{path} lacks the rule that {rule['message']}"


def _tighter(path: str, ours: Raw, theirs: Raw) -> Iterator[str]:
    for bound in AT_MOST:
        if bound in theirs and theirs[bound] < ours.get(bound, float("inf")):
            yield f"{path} has {bound} {theirs[bound]}"
    for bound in AT_LEAST:
        if bound in theirs and theirs[bound] > ours.get(bound, float("-inf")):
            yield f"{path} has {bound} {theirs[bound]}"
    if "enum" in theirs and (unknown := [v for v in ours.get("enum", ("any",)) if v not in theirs["enum"]]):
        yield f"{path} does not take {unknown[0]}"
    if "pattern" in theirs and theirs["pattern"] != ours.get("pattern"):
        yield f"{path} has the pattern {theirs['pattern']}"
    for name in theirs.get("required", ()):
        if name not in ours.get("required", ()):
            yield f"{path}.{name} is required"


class Definitions:
    """The installed definitions, looked at again and again: the right to read them by name is all it takes."""

    def __init__(self, cluster: Cluster, seconds: float) -> None:
        self._cluster = cluster
        self._seconds = seconds
        self.problem = ""
        """Why the operator does nothing; empty where it works."""
        self._warned = False
        self._judged: dict[str, tuple[str, str]] = {}  # by name: the version that was judged, and the sentence

    async def fit(self) -> None:
        """Returns once all of them fit."""
        await self._until(lambda problem: not problem)

    async def unfit(self) -> None:
        """Returns once one of them does not fit any more."""
        await self._until(bool)

    async def _until(self, holds: Callable[[str], bool]) -> None:
        while True:
            if holds(await self._look()):
                return
            await asyncio.sleep(self._seconds)

    async def _look(self) -> str:
        """The first sentence against them. Where the API server does not answer, what was known stands."""
        try:
            problems = [await self._judge(resource) for resource in crds.RESOURCES]
        except ApiError as error:
            if error.status != 403 or not self._warned:
                log.warning("the CRDs cannot be read: %s", error)
            self._warned = error.status == 403  # an operator without cluster-wide rights goes on unchecked
            return self.problem
        problem = next(filter(None, problems), "")
        if problem != self.problem:
            log.log(logging.ERROR if problem else logging.INFO, "%s", problem or "the CRDs fit this operator")
        self.problem = problem
        return problem

    async def _judge(self, resource: crds.Resource) -> str:
        """To make the schema that it is held against takes a tenth of a second: each version is judged once."""
        name = crds.name(resource)
        installed = await self._cluster.get("CustomResourceDefinition", "", name)
        version = installed["metadata"]["resourceVersion"] if installed else ""
        if self._judged.get(name, (None, ""))[0] != version:
            self._judged[name] = version, misfit(resource, installed)
        return self._judged[name][1]
