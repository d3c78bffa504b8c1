"""A deployment with a strategy, as most tests of rollouts want it, and what they wait for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.e2e.traffic import Traffic
from tests.e2e.world import PATIENCE, SMALL, Object, World

RETURN = {
    "name": "return",
    "metric": "return",
    "role": "Prove",
    "test": "NonInferior",
    "margin": {"of": "Range", "value": "0.5"},
}
ERRORS = {"name": "errors", "metric": "errors", "test": "NotAbove", "limit": "0.2"}
CANARY = {"steps": [{"weight": 50, "units": 10}], "gates": [RETURN, ERRORS], "minUnits": 5, "maxDuration": "10m"}
SHADOWED = 5
FIRST, SECOND, WORSE = "cartpole-1", "cartpole-2", "cartpole-3"
AGENT = "agentdeployment"


@dataclass(frozen=True)
class Agent:
    """One deployment. Its name is its own: the history in the store goes by it, and outlives the object."""

    world: World
    name: str

    def deploy(self, version: str = FIRST, **spec: Any) -> None:
        """As most tests want it."""
        strategy = {"shadow": {"units": SHADOWED}, "canary": CANARY}
        base = {"replicas": 2, "auth": {"mode": "None"}, "episodeDeadline": "10s", "strategy": strategy}
        whole = {"policyVersion": version, "template": {"resources": SMALL}, **base, **spec}
        self.world.apply("AgentDeployment", self.name, {k: v for k, v in whole.items() if v is not None})

    def patch(self, **spec: Any) -> None:
        self.world.patch(AGENT, self.name, spec)

    def get(self) -> Object:
        return self.world.get(AGENT, self.name)

    @property
    def status(self) -> Object:
        found: Object = self.get()["status"]
        return found

    def until(self, holds: Callable[[Object], Any], what: str, seconds: float = PATIENCE) -> Object:
        """Waits until the status satisfies `holds`; the status."""
        found: Object = self.world.until(AGENT, self.name, lambda o: bool(holds(o["status"])), what, seconds)["status"]
        return found

    def stable(self, version: str, seconds: float = PATIENCE) -> Object:
        return self.until(lambda s: (s.get("stable") or {}).get("name") == version, f"decided by {version}", seconds)

    def progressing(self, status: str, reason: str = "") -> str:
        return self.world.until_condition(AGENT, self.name, "Progressing", status, reason)

    def canary(self) -> Object:
        """Waits until the candidate acts for some."""
        return self.until(lambda s: (s.get("step") or {}).get("kind") == "Canary", "in canary")

    def candidate(self, version: str) -> Object:
        return self.until(lambda s: (s.get("candidate") or {}).get("name") == version, f"trying {version}")

    def rejected(self, version: str) -> Object:
        """Waits until a version is rejected; its entry."""
        found = self.until(lambda s: version in [r["name"] for r in s.get("rejected", ())], f"{version} rejected")
        return next(r for r in found["rejected"] if r["name"] == version)

    def heeded(self) -> Object:
        """Waits until the operator has planned by the spec as it stands now."""

        def planned(obj: Object) -> bool:
            return bool(obj["status"].get("observedGeneration") == obj["metadata"]["generation"])

        found: Object = self.world.until(AGENT, self.name, planned, "planned by its latest spec")["status"]
        return found

    def last_event(self) -> tuple[str, str]:
        """What the history says last: event and version."""
        entry = self.status["history"][-1]
        return entry["event"], entry["policy"]

    def go_on(self) -> None:
        """The canary of `slow` comes to its end: what is changed here makes it no other attempt."""
        self.patch(strategy={"canary": CANARY})

    def traffic(self, **returns: float) -> Traffic:
        """Callers; `returns` by version, with an underscore for the hyphen."""
        return Traffic(self.world, self.name, {k.replace("_", "-"): v for k, v in returns.items()})


def slow(**change: Any) -> Object:
    """A strategy whose canary goes on until something happens."""
    steps = [{"weight": 50, "units": 100_000}]
    return {"shadow": None, "canary": {**CANARY, "steps": steps, **change}}
