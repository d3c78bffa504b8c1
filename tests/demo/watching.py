"""Waiting with open eyes: what changes is printed, what will never happen ends the wait with a sentence."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from tests.cluster.kubectl import Kubectl
from tests.cluster.steps import ClusterError, say

Object = Mapping[str, Any]


def read(kubectl: Kubectl, kind: str, name: str) -> Object:
    """One object, or an empty one where there is none yet."""
    found = kubectl("get", kind, name, "--ignore-not-found", "-o", "json")
    return json.loads(found) if found.strip() else {"status": {}}


def condition(obj: Object, type_: str) -> Mapping[str, str]:
    """The condition of this type; an empty one where there is none yet."""
    listed = obj.get("status", {}).get("conditions", ())
    return next((c for c in listed if c["type"] == type_), {})


def watch(
    kubectl: Kubectl,
    kind: str,
    name: str,
    *,
    until: Callable[[Object], bool],
    line: Callable[[Object], str],
    fails: Callable[[Object], bool] = lambda _: False,
    seconds: float = 600,
) -> Object:
    """Prints `line` whenever it changes; returns the object once `until` holds. Raises ClusterError."""
    deadline, said = time.monotonic() + seconds, ""
    while True:
        obj = read(kubectl, kind, name)
        if (text := line(obj)) and text != said:
            say(f"  {kind}/{name}: {text}")
            said = text
        if until(obj):
            return obj
        if fails(obj) or time.monotonic() > deadline:
            what = "failed" if fails(obj) else f"is not there after {seconds:.0f} s"
            raise ClusterError(f"{kind}/{name} {what}: {text}. `kubectl describe {kind} {name}` says more.")
        time.sleep(0.5)


def training_line(job: Object) -> str:
    """Progress of a TrainingJob in steps of ten percent."""
    status = job["status"]
    progress, phase = status.get("progress") or {}, status.get("phase", "Pending")
    if phase == "Running" and progress.get("steps"):
        tens = progress["percent"] // 10
        bar = "#" * tens + "." * (10 - tens)
        return f"[{bar}] {tens * 10:3d} %" + (f", mean return {_rough(progress)}" if tens else "")
    if phase == "Succeeded":
        found = status["evaluation"]
        return (
            f"{phase}: mean return {found['mean']} over {found['episodes']} evaluation episodes, "
            f"lower bound {found.get('lowerBound')}; published as {status['policyVersion']}"
        )
    said = condition(job, "Complete")
    return f"{phase}: {said.get('message', 'waiting for the operator')}"


def _rough(progress: Mapping[str, Any]) -> str:
    value = progress.get("episodeReturn")
    return f"{float(value):.0f}" if value else "unknown"
