"""One look at the evidence: what is ready is scored, and marks, positions and statistics move together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from checkrein.api.deployment import AgentDeploymentStatus
from checkrein.api.evidence import PARTS_LIMIT, Evidence, OffPolicyEstimate, ShadowReport
from checkrein.api.meta import bounded
from checkrein.api.rollout import GateStatus, RolloutStatus, StreamStatus
from checkrein.api.strategy import Shadow
from checkrein.control.plan import Unavailable
from checkrein.control.requests import EstimateOffPolicy
from checkrein.control.rollout import gates, intake, ledger, ready, review
from checkrein.control.rollout.asking import Asking
from checkrein.control.rollout.ledger import Clock, Episode, Found
from checkrein.control.rollout.ready import Harvest, Ready
from checkrein.control.rollout.scene import Scene, updated
from checkrein.control.workloads import agents
from checkrein.judge import divergence
from checkrein.judge.assignment import Kind
from checkrein.judge.canary import Test

EVERY = timedelta(seconds=2)
FINDINGS_LIMIT = 32
LOST = "lost"
"""The finding that replicas have lost evidence of this rollout."""
_KINDS: Mapping[str, Kind] = {"Episode": "episode", "Client": "client", "Window": "window"}


def is_due(status: AgentDeploymentStatus, scene: Scene) -> bool:
    """Whether the last change by evidence is long enough ago."""
    last = status.rollout.scored_at if status.rollout else None
    return last is None or scene.now - last >= EVERY


def clock(scene: Scene) -> Clock:
    """Until when episodes are waited for."""
    strategy = scene.agent.spec.strategy
    late = strategy.outcome_deadline if strategy else timedelta()
    return Clock(scene.now.timestamp(), scene.spec.episode_deadline.total_seconds(), late.total_seconds())


def shadow(scene: Scene, status: AgentDeploymentStatus, asking: Asking) -> AgentDeploymentStatus:
    """Score what the candidate said beside stable. Raises Unanswered, and Unavailable where arms cannot be told."""
    rollout, strategy = status.rollout, scene.agent.spec.strategy
    if rollout is None or not is_due(status, scene):
        return status
    asked = strategy.shadow if strategy and strategy.shadow else Shadow(units=1)
    told = intake.told(scene, status.streams)
    # What comes late is no part of a shadow: it says nothing of the candidate.
    found = ledger.joined(told.evidence.values(), frozenset({"shadow"}), rollout.id, _without_late(clock(scene)))
    episodes, marks = ready.starts(found, told.streams, told.closing, float(asked.share), scene.seed(rollout))
    shown = [e for e in episodes if e.shadow and e.shadow.compared + e.shadow.failed + e.shadow.invalid]
    report = _merged(told.evidence.values(), rollout)
    fields = {
        "shadowed": rollout.shadowed + len(shown),
        "findings": _findings(rollout, found, shown),
        "shadow": report or rollout.shadow,
    }
    streams = intake.moved(_marked(told.streams, marks), told, found)
    return _written(scene, status, fields, streams, gates.shadowed(status.gates, asking, shown, asked.units))


def _without_late(clock_: Clock) -> Clock:
    return Clock(clock_.now, clock_.episode_deadline)


def _merged(evidence: Iterable[Evidence], rollout: RolloutStatus) -> ShadowReport | None:
    """One report of those of all replicas; never one that knows less than what was shown before."""
    reports = [e.shadow for e in evidence if e.shadow and e.rollout == rollout.id]
    if not reports:
        return None
    made = ShadowReport.model_validate(divergence.merge(reports))
    before = rollout.shadow
    return made if before is None or made.compared + made.failed >= before.compared + before.failed else None


def canary(scene: Scene, status: AgentDeploymentStatus, asking: Asking) -> AgentDeploymentStatus:
    """Score the blocks that are over, and what people and logs say. Raises as `shadow`."""
    rollout, step = status.rollout, status.step
    if rollout is None or step is None or not is_due(status, scene):
        return status
    design = scene.agent.spec.strategy.unit if scene.agent.spec.strategy else "Episode"
    seed = scene.seed(rollout)
    told = intake.told(scene, status.streams, stored_from_start=design == "Client")
    found = ledger.joined(told.evidence.values(), frozenset({_KINDS[design]}), rollout.id, clock(scene))
    harvest = _harvest(scene, status, design, told, found, seed)
    streams = _marked(told.streams, harvest.marks)
    if design == "Episode":
        streams = intake.moved(streams, told, found)
    elif design == "Window":
        streams = intake.moved(streams, told, found, harvest.counted_since)
    units = sum(len(r.candidate) for r in harvest.blocks)
    scored = gates.judged(status.gates, asking, harvest.blocks)
    status, answers = review.answered(status, scene.spec.rollout.reviews, seed)
    scored = _off_policy(scene, gates.reviewed(scored, asking, answers), asking, status)
    if any(a.gate.metric == "humanApproval" for a in asking.tests):
        status = updated(status, review=review.sampled(status.review, harvest.blocks, seed))
    fields = {
        "scored": rollout.scored + units,
        "counted_since": max(rollout.counted_since, harvest.counted_since),
        "findings": _findings(
            rollout, found, _episodes(harvest.blocks), _unknown(harvest.blocks), len(_lossy(told, status.streams))
        ),
    }
    if units:
        status = updated(status, step=step.model_copy(update={"units": step.units + units}))
    return _written(scene, status, fields, streams, scored)


def _harvest(
    scene: Scene, status: AgentDeploymentStatus, design: str, told: intake.Told, found: Found, seed: str
) -> Harvest:
    rollout, step, strategy = status.rollout, status.step, scene.agent.spec.strategy
    assert rollout
    assert step
    if design == "Episode":
        return ready.episodes(found, told.streams, told.closing, seed)
    if any(s.gone_since and not s.closed and s.name not in told.evidence for s in told.streams):
        return Harvest((), {}, rollout.counted_since)  # its units may be anybody's: they are waited for
    if design == "Client" and _lossy(told, status.streams):
        return Harvest((), {}, rollout.counted_since)  # who came first is not known any more
    window = strategy.window.total_seconds() if strategy and strategy.window else 0.0
    times = ready.Times(
        now=scene.now.timestamp(),
        window=window,
        since=step.since.timestamp() if step.since else 0.0,
        counted_since=rollout.counted_since,
        dark=told.dark_since,
    )
    return (ready.windows if design == "Window" else ready.clients)(found, times, seed)


def _lossy(told: intake.Told, streams: Sequence[StreamStatus]) -> list[str]:
    """Streams that have lost parts which may be this rollout's: what lies behind a position is nobody's any more."""
    position = {s.name: s.position for s in streams}
    return [name for name, e in told.evidence.items() if e.lost_before > position.get(name, 0)]


def stuck(scene: Scene, rollout: RolloutStatus) -> str:
    """Why no unit can be scored any more, as a sentence; empty where it can."""
    strategy = scene.agent.spec.strategy
    if strategy is None or strategy.unit != "Client" or not rollout.findings.get(LOST):
        return ""
    return (
        f"no unit can be scored any more: a replica has lost part of its evidence (it keeps {PARTS_LIMIT:,} episodes, "
        "and what a log with a gap tells is incomplete), so nobody knows which episode of a client came first; try "
        "again with more replicas or a shorter rollout (spec.strategy.canary.steps, window), or with unit Episode"
    )


def _marked(streams: Sequence[StreamStatus], marks: Mapping[str, int]) -> list[StreamStatus]:
    return [s.model_copy(update={"block": max(s.block, marks.get(s.name, s.block))}) for s in streams]


def _episodes(blocks: Sequence[Ready]) -> list[Episode]:
    return [e for block in blocks for unit in (*block.candidate, *block.stable) for e in unit or ()]


def _unknown(blocks: Sequence[Ready]) -> int:
    units = [unit for block in blocks for unit in (*block.candidate, *block.stable)]
    return sum(unit is None or not all(e.known for e in unit) for unit in units)


def _findings(
    rollout: RolloutStatus, found: Found, episodes: Iterable[Episode], unknown: int = 0, lost: int = 0
) -> dict[str, Any]:
    """What was odd in all that has been scored; the commonest. `lost`: replicas that have lost evidence."""
    total: Counter[str] = Counter({str(k): int(v) for k, v in rollout.findings.items()})
    scored = list(episodes)
    for episode in scored:
        total.update(episode.findings)
    total.update({"unknown": unknown, "unfinished": sum(e.worst for e in scored)})
    if found.findings:
        total["malformed"] = max(total["malformed"], found.findings.get("malformed", 0))
    total[LOST] = max(total[LOST], lost)
    # Rare as it is, it must not be the one that there is no room for.
    listed = sorted(total.items(), key=lambda item: (item[0] != LOST, -item[1]))[:FINDINGS_LIMIT]
    return {name: count for name, count in sorted(listed) if count}


def _off_policy(
    scene: Scene, scored: list[GateStatus], asking: Asking, status: AgentDeploymentStatus
) -> list[GateStatus]:
    """The gates that ask what the candidate would have done, by the stored log. Pass and Fail are for good."""
    tests = {a.name: a.test for a in asking.tests if a.gate.metric == "offPolicy"}
    asked = {
        g.name: request
        for g in scored
        if g.verdict == "Continue" and g.name in tests and (request := _question(scene, status, tests[g.name]))
    }
    said = scene.answers.ask_all(tuple(asked.values()))
    return [_estimated(g, tests[g.name], said[asked[g.name]]) if g.name in asked else g for g in scored]


def _question(scene: Scene, status: AgentDeploymentStatus, test: Test) -> EstimateOffPolicy | None:
    stable, candidate = status.stable, status.candidate
    if stable is None or candidate is None or test.low is None or test.high is None:
        return None
    since = next((e.time.timestamp() for e in reversed(status.history) if e.policy == stable.name), 0.0)
    location = agents.decisions_location(scene.agent, scene.observed.settings, scene.observed.cluster)
    factor, _ = _asked_of(test)
    alpha = min(2 * min(test.alpha_pass, test.alpha_fail), 0.5)  # half of it for each side
    return EstimateOffPolicy(location, candidate.name, since, test.low, test.high, alpha, factor)


def _estimated(gate: GateStatus, test: Test, answer: OffPolicyEstimate | Unavailable) -> GateStatus:
    """The gate after this answer."""
    factor, above = _asked_of(test)
    if isinstance(answer, Unavailable) or answer.refused:
        why = answer.message if isinstance(answer, Unavailable) else answer.refused
        return gate.model_copy(update={"message": bounded(f"no estimate: {why}")})
    lower, upper = answer.lower, answer.upper
    verdict = "Continue"
    if lower is not None and lower > above:
        verdict = "Pass"
    elif upper is not None and upper < above:
        verdict = "Fail"
    compared = "stable" if factor == 1 else f"{factor:g} of stable"
    message = (
        f"{answer.episodes} logged episodes (effective {answer.effective:.0f}) put candidate minus {compared} between "
        f"{_short(lower)} and {_short(upper)}, above {above:g} is asked"
    )
    ends = [d for d in (gates.decimal(lower), gates.decimal(upper)) if d is not None]
    return gate.model_copy(
        update={
            "verdict": verdict,
            "message": bounded(message),
            "stable": gates.decimal(answer.stable),
            "candidate": gates.decimal(answer.candidate),
            "interval": ends if len(ends) == 2 else [],
            "units": answer.episodes,
        }
    )


def _short(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _asked_of(test: Test) -> tuple[float, float]:
    """(factor, above): candidate minus factor times stable must be above that."""
    sign = -1.0 if test.test == "NonInferior" else 1.0
    match test.margin_of:
        case "StableMean":
            return 1.0 + sign * test.margin, 0.0
        case "Range":
            return 1.0, sign * test.margin * ((test.high or 0.0) - (test.low or 0.0))
        case _:
            return 1.0, sign * test.margin


def _written(
    scene: Scene,
    status: AgentDeploymentStatus,
    fields: dict[str, Any],
    streams: Sequence[StreamStatus],
    scored: Sequence[GateStatus],
) -> AgentDeploymentStatus:
    """The status with all of it, dated if anything is new."""
    assert status.rollout is not None
    told = updated(status, rollout=status.rollout.model_copy(update=fields), streams=list(streams), gates=list(scored))
    assert told.rollout is not None
    before, parts = scene.agent.status, ("rollout", "streams", "gates", "step", "review")
    if all(getattr(told, part) == getattr(before, part) for part in parts):
        return status
    return updated(told, rollout=told.rollout.model_copy(update={"scored_at": scene.now}))
