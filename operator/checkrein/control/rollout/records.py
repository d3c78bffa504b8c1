"""What stable is held to after its promotion: its returns, errors and costs, as its rollout showed them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from checkrein.api.rollout import GateStatus, WatchedStatus, WatchStatus
from checkrein.api.strategy import Watch
from checkrein.control.rollout.ledger import Episode
from checkrein.control.rollout.scene import Scene
from checkrein.judge import drift

Metric = Literal["return", "errors", "cost"]
PATHS = {"return": "spec.strategy.watch", "errors": "spec.strategy.watch.errors", "cost": "spec.strategy.watch.cost"}
BREACHES = {
    "return": "its mean return has fallen below its own record",
    "errors": "more of its decisions fail than on its own record",
    "cost": "its mean cost has risen above its own record",
}


@dataclass(frozen=True)
class Watched:
    """One respect. Scores lie within `low` and `high`; `change`, above 0, is by how much the mean must have got worse.

    `sign` is -1 where more is worse.
    """

    metric: Metric
    baseline: Decimal
    low: float
    high: float
    change: float
    alpha: float
    sign: int = 1

    def begin(self) -> str:
        """The detector before its first episode. Raises ValueError where the change could never be shown."""
        low, high = sorted((self.sign * self.low, self.sign * self.high))
        return drift.begin(self.sign * float(self.baseline), low, high, self.change / (high - low), self.alpha)

    def update(self, state: str, scores: Iterable[float]) -> str:
        """The detector after these."""
        return drift.update(state, [self.sign * score for score in scores])

    def score(self, episode: Episode) -> float | None:
        """What one episode came to; None where that is not known. An override's decisions are not stable's."""
        if not episode.known:
            return None
        match self.metric:
            case "return":
                if episode.worst:
                    return self.low
                return episode.reward if episode.complete and math.isfinite(episode.reward) else None
            case "cost":
                return self.high if episode.worst else episode.cost if math.isfinite(episode.cost) else None
            case _:
                decided = max(episode.decided, episode.failed)
                return min(episode.failed / decided, 1.0) if decided else None


def proved(gates: Iterable[GateStatus]) -> WatchStatus | None:
    """The record that a rollout leaves: what its gates measured of the candidate. None where they measured nothing."""
    means: dict[str, Decimal] = {}
    for gate in gates:
        if gate.candidate is not None:
            means.setdefault(gate.metric, gate.candidate)
    others = [WatchedStatus(metric=m, baseline=means[m]) for m in ("errors", "cost") if m in means]
    return WatchStatus(baseline=means.get("return"), others=others) if others or "return" in means else None


def watched(scene: Scene, name: str, watch: Watch, known: WatchStatus | None) -> tuple[list[Watched], list[str]]:
    """All that is asked for and can be watched; and why the rest cannot, as sentences."""
    asked = 1 + (watch.errors is not None) + (watch.cost is not None)
    # The mean of detectors is one: each sounds at its share, and all together no sooner than one alone.
    alpha = float(watch.alpha) / asked
    baselines = {o.metric: o.baseline for o in known.others} if known else {}
    found = [_return(scene, name, watch, alpha, known)]
    if watch.errors is not None:
        # Whoever was never seen to fail is held to that.
        baseline = baselines.get("errors") or Decimal(0)
        found.append(Watched("errors", baseline, 0.0, 1.0, float(watch.errors), alpha, sign=-1))
    if watch.cost is not None:
        found.append(_cost(name, watch, alpha, baselines.get("cost")))
    able = [w for w in found if isinstance(w, Watched)]
    refused = {w.metric: why for w in able if (why := _refuse(w))}
    return [w for w in able if w.metric not in refused], [
        *(f for f in found if isinstance(f, str)),
        *(f"{PATHS[metric]}: {why}" for metric, why in refused.items()),
    ]


def _return(scene: Scene, name: str, watch: Watch, alpha: float, known: WatchStatus | None) -> Watched | str:
    version = scene.observed.versions.get(name)
    if version is None:
        return f"spec.strategy.watch: no PolicyVersion {name!r} in this namespace, so its record is not known"
    environment = scene.observed.environments.get(version.spec.environment.name)
    bounds = environment.spec.reward.bounds if environment else None
    if environment is None or environment.status.digest != version.spec.environment.digest or bounds is None:
        return (
            f"spec.strategy.watch: needs spec.reward.bounds of RLEnvironment {version.spec.environment.name}, "
            f"the one that {name} was trained for"
        )
    baseline = known.baseline if known and known.baseline is not None else version.spec.evaluation.mean
    low, high = float(bounds.min), float(bounds.max)
    return Watched("return", baseline, low, high, float(watch.drop) * (high - low), alpha)


def _cost(name: str, watch: Watch, alpha: float, baseline: Decimal | None) -> Watched | str:
    assert watch.cost is not None
    if baseline is None:
        return f"{PATHS['cost']}: {name} has no record of its cost: no gate of metric cost was in its rollout"
    return Watched("cost", baseline, 0.0, float(watch.cost.maximum), float(watch.cost.rise), alpha, sign=-1)


def _refuse(watched: Watched) -> str | None:
    """Why it can never be shown."""
    if watched.metric == "return":
        share = watched.change / (watched.high - watched.low)
        return drift.refuse(float(watched.baseline), watched.low, watched.high, share, watched.alpha)
    if float(watched.baseline) + watched.change >= watched.high:
        risen = f"{float(watched.baseline):.4g} and {watched.change:g} more"
        return f"nothing lies above {risen}: choose a smaller rise" + (
            " or a greater maximum" if watched.metric == "cost" else ""
        )
    return None
