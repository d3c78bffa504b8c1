"""After a promotion stable is watched against its own record; a sustained breach may bring back the one before."""

from __future__ import annotations

import math
from decimal import Decimal

from checkrein.api import conditions
from checkrein.api.deployment import AgentDeploymentStatus, PolicyPointer
from checkrein.api.rollout import WatchStatus
from checkrein.api.strategy import Watch
from checkrein.control.rollout import history, intake, ledger, ready, scoring
from checkrein.control.rollout.gates import decimal
from checkrein.control.rollout.ledger import Episode
from checkrein.control.rollout.scene import Scene, updated
from checkrein.judge import drift

HOLDS = "StableHolds"


def watching(scene: Scene, status: AgentDeploymentStatus) -> AgentDeploymentStatus:
    """The status after a look at what stable did since the last one. Raises Unanswered."""
    strategy, stable = scene.agent.spec.strategy, status.stable
    if strategy is None or strategy.watch is None or stable is None:
        kept = [c for c in status.conditions if c.type != HOLDS]
        return updated(status, watch=None, conditions=kept) if status.watch or kept != status.conditions else status
    bounds = _bounds(scene, stable.name)
    if isinstance(bounds, str):
        return scene.write.put(status, HOLDS, None, "NoRecord", bounds)
    low, high = bounds
    if status.candidate is not None:  # its units are others
        return _told(scene, status, strategy.watch) if status.watch and status.watch.state else status
    status = _begun(scene, status, strategy.watch, low, high)
    watch = status.watch
    if watch is None or not watch.state:
        return status
    return _told(scene, _looked(scene, status, watch, low, high), strategy.watch)


def _bounds(scene: Scene, name: str) -> tuple[float, float] | str:
    """Of the returns of stable's environment; a sentence where there are none."""
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
    return float(bounds.min), float(bounds.max)


def _begun(scene: Scene, status: AgentDeploymentStatus, watch: Watch, low: float, high: float) -> AgentDeploymentStatus:
    """With a detector, where there is none yet."""
    if status.watch and status.watch.state:
        return status
    assert status.stable is not None
    baseline = status.watch.baseline if status.watch else None
    if baseline is None:
        baseline = scene.observed.versions[status.stable.name].spec.evaluation.mean
    drop, alpha = float(watch.drop), float(watch.alpha)
    if why := drift.refuse(float(baseline), low, high, drop, alpha):
        message = f"spec.strategy.watch: {why}"
        return scene.write.put(status, HOLDS, None, "NoRecord", message, watch=WatchStatus(baseline=baseline))
    state = drift.begin(float(baseline), low, high, drop, alpha)
    return updated(status, watch=WatchStatus(baseline=baseline, state=state), streams=intake.afresh(status.streams))


def _looked(
    scene: Scene, status: AgentDeploymentStatus, watch: WatchStatus, low: float, high: float
) -> AgentDeploymentStatus:
    """Feed what has ended since."""
    assert status.stable is not None
    if watch.scored_at and scene.now - watch.scored_at < scoring.EVERY:
        return status
    told = intake.told(scene, status.streams)
    id_ = f"{status.stable.name}.e{status.epoch}"
    found = ledger.joined(told.evidence.values(), frozenset({"watch"}), id_, scoring.clock(scene))
    episodes, marks = ready.starts(found, told.streams, told.closing, None, "")
    returns = [r for e in episodes if (r := _return(e, low)) is not None]
    marked = [s.model_copy(update={"block": max(s.block, marks.get(s.name, s.block))}) for s in told.streams]
    streams = [s for s in intake.moved(marked, told, found) if not s.closed]
    if not returns:
        # Positions alone are not worth a write for ever: they move with the next episode that counts.
        forgets = {s.name for s in streams if not s.gone_since} == {s.name for s in status.streams if not s.gone_since}
        return status if forgets and len(streams) == len(status.streams) else updated(status, streams=streams)
    state = drift.update(watch.state, returns)
    alarm = drift.read(state)
    new = watch.model_copy(
        update={
            "state": state,
            "units": alarm.units,
            "recent": decimal(alarm.recent),
            "evidence": decimal(min(alarm.evidence, 1e12)),
            "scored_at": scene.now,
        }
    )
    return updated(status, watch=new, streams=streams)


def _return(episode: Episode, low: float) -> float | None:
    """What one episode came to; None where that is not known. An override's decisions are not stable's."""
    if not episode.known:
        return None
    if episode.worst:
        return low
    return episode.reward if episode.complete and math.isfinite(episode.reward) else None


def is_breached(status: AgentDeploymentStatus) -> bool:
    """Whether the detector has sounded. It does so for good."""
    return bool(status.watch and status.watch.state and drift.read(status.watch.state).alarmed)


def _told(scene: Scene, status: AgentDeploymentStatus, watch: Watch) -> AgentDeploymentStatus:
    assert status.stable is not None
    assert status.watch is not None
    name, seen = status.stable.name, status.watch
    numbers = f"{seen.units} episodes since its promotion, mean return of its record {_short(seen.baseline)}"
    if seen.recent is not None:
        numbers += f", lately {_short(seen.recent)}"
    if not is_breached(status):
        return scene.write.put(status, HOLDS, True, "Holds", f"{name}: {numbers}")
    message = f"{name}: its mean return has fallen by more than {watch.drop} of its range: {numbers}"
    return scene.write.put(status, HOLDS, False, "Breached", message)


def _short(value: Decimal | None) -> str:
    return f"{value:.4g}" if value is not None else "unknown"


def before(scene: Scene, status: AgentDeploymentStatus) -> PolicyPointer | None:
    """Who was stable before, if that one may still act: it is verified, fits, and nothing stands against it."""
    stable = status.stable
    entry = next((e for e in reversed(status.history) if e.event in history.ACTING), None)
    if stable is None or entry is None or entry.policy != stable.name or entry.since is None:
        return None
    version = scene.observed.versions.get(entry.since)
    if version is None or not conditions.is_true(version.status.conditions, "Verified"):
        return None
    digest = version.spec.artifact.digest
    fits = version.spec.interface == stable.interface
    if not fits or history.refused(status, entry.since, digest):
        return None
    return PolicyPointer(name=entry.since, artifact=version.spec.artifact, interface=version.spec.interface)
