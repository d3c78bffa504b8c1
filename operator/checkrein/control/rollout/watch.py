"""After a promotion stable is watched against its own record; a sustained breach may bring back the one before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from checkrein.api import conditions
from checkrein.api.deployment import AgentDeploymentStatus, PolicyPointer
from checkrein.api.rollout import WatchedStatus, WatchStatus
from checkrein.control.rollout import history, intake, ledger, ready, records, scoring
from checkrein.control.rollout.gates import decimal
from checkrein.control.rollout.records import Watched
from checkrein.control.rollout.scene import Scene, updated
from checkrein.judge import drift

HOLDS = "StableHolds"
MOST_EVIDENCE = 1e12


def watching(scene: Scene, status: AgentDeploymentStatus) -> AgentDeploymentStatus:
    """The status after a look at what stable did since the last one. Raises Unanswered."""
    strategy, stable = scene.agent.spec.strategy, status.stable
    if strategy is None or strategy.watch is None or stable is None:
        kept = [c for c in status.conditions if c.type != HOLDS]
        return updated(status, watch=None, conditions=kept) if status.watch or kept != status.conditions else status
    watched, problems = records.watched(scene, stable.name, strategy.watch, status.watch)
    if not watched:
        return scene.write.put(status, HOLDS, None, "NoRecord", "; ".join(problems))
    if status.candidate is None:  # else its units are others
        status = _looked(scene, _begun(status, watched), watched)
    return _told(scene, status, watched, problems) if _states(status.watch) else status


def _states(watch: WatchStatus | None) -> dict[str, str]:
    """The detectors that are at work, by metric."""
    if watch is None:
        return {}
    listed = [("return", watch.state), *((o.metric, o.state) for o in watch.others)]
    return {metric: state for metric, state in listed if state}


def _begun(status: AgentDeploymentStatus, watched: Sequence[Watched]) -> AgentDeploymentStatus:
    """With a detector for all that is watched; a new one where it is asked for something else than before."""
    before = _states(status.watch)
    states: dict[str, str] = {}
    for each in watched:
        fresh, old = each.begin(), before.get(each.metric)
        states[each.metric] = old if old and drift.asks(old, fresh) else fresh
    if states == before:
        return status
    new = _with(status.watch or WatchStatus(), watched, states)
    return updated(status, watch=new, streams=status.streams if before else intake.afresh(status.streams))


def _with(watch: WatchStatus, watched: Sequence[Watched], states: Mapping[str, str]) -> WatchStatus:
    """With these detectors and what they say. Records of what is not watched stay."""
    numbers = {each.metric: _numbers(each, states[each.metric], len(watched)) for each in watched}
    idle = {"recent": None, "evidence": None, "state": ""}
    others = {o.metric: o.model_copy(update=idle) for o in watch.others}
    for each in watched:
        if each.metric != "return":
            others[each.metric] = WatchedStatus(metric=each.metric, **numbers[each.metric])
    units = max(drift.read(state).units for state in states.values())
    return watch.model_copy(
        update={**idle, **numbers.get("return", {}), "units": units, "others": list(others.values())}
    )


def _numbers(each: Watched, state: str, of: int) -> dict[str, object]:
    alarm = drift.read(state)
    recent = each.sign * alarm.recent if alarm.recent is not None else None
    return {
        "baseline": each.baseline,
        "recent": decimal(recent),
        "evidence": decimal(min(alarm.evidence / of, MOST_EVIDENCE)) if alarm.units else None,
        "state": state,
    }


def _looked(scene: Scene, status: AgentDeploymentStatus, watched: Sequence[Watched]) -> AgentDeploymentStatus:
    """Feed what has ended since."""
    watch = status.watch
    assert status.stable is not None
    assert watch is not None
    if watch.scored_at and scene.now - watch.scored_at < scoring.EVERY:
        return status
    told = intake.told(scene, status.streams)
    id_ = f"{status.stable.name}.e{status.epoch}"
    found = ledger.joined(told.evidence.values(), frozenset({"watch"}), id_, scoring.clock(scene))
    episodes, marks = ready.starts(found, told.streams, told.closing, None, "")
    scores = {w.metric: [s for e in episodes if (s := w.score(e)) is not None] for w in watched}
    marked = [s.model_copy(update={"block": max(s.block, marks.get(s.name, s.block))}) for s in told.streams]
    streams = [s for s in intake.moved(marked, told, found) if not s.closed]
    if not any(scores.values()):
        # Positions alone are not worth a write for ever: they move with the next episode that counts.
        forgets = {s.name for s in streams if not s.gone_since} == {s.name for s in status.streams if not s.gone_since}
        return status if forgets and len(streams) == len(status.streams) else updated(status, streams=streams)
    before = _states(watch)
    states: dict[str, str] = {w.metric: w.update(before[w.metric], scores[w.metric]) for w in watched}
    new = _with(watch, watched, states).model_copy(update={"scored_at": scene.now})
    return updated(status, watch=new, streams=streams)


def breach(status: AgentDeploymentStatus) -> str:
    """What the detectors have found, as a clause; empty where nothing. They sound for good."""
    alarmed = [metric for metric, state in _states(status.watch).items() if drift.read(state).alarmed]
    return " and ".join(records.BREACHES[metric] for metric in alarmed)


def _told(
    scene: Scene, status: AgentDeploymentStatus, watched: Sequence[Watched], problems: Sequence[str]
) -> AgentDeploymentStatus:
    assert status.stable is not None
    assert status.watch is not None
    name, seen = status.stable.name, status.watch
    numbers = [f"{seen.units} episodes since its promotion"]
    metrics = {w.metric for w in watched}
    if "return" in metrics:
        numbers.append(_compared("mean return", seen.baseline, seen.recent))
    words = {"errors": "share of decisions that fail", "cost": "mean cost"}
    numbers += [_compared(words[o.metric], o.baseline, o.recent) for o in seen.others if o.metric in metrics]
    message = "; ".join([", ".join(numbers), *problems])
    if found := breach(status):
        return scene.write.put(status, HOLDS, False, "Breached", f"{name}: {found}: {message}")
    return scene.write.put(status, HOLDS, True, "Holds", f"{name}: {message}")


def _compared(what: str, baseline: Decimal | None, recent: Decimal | None) -> str:
    lately = f", lately {_short(recent)}" if recent is not None else ""
    return f"{what} of its record {_short(baseline)}{lately}"


def _short(value: Decimal | None) -> str:
    return f"{float(value):.4g}" if value is not None else "unknown"


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
