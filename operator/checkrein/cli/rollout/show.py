"""A rollout as a person reads it: where it is, what it waits for, how the gates stand, what was before. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from checkrein.api import conditions
from checkrein.api.deployment import AgentDeployment
from checkrein.api.rollout import HistoryEntry
from checkrein.api.strategy import CanaryStep
from checkrein.cli.text import interval, moment, number, plural, span, table


def status(agent: AgentDeployment, now: datetime) -> str:
    """All of it, in lines."""
    parts = [_head(agent, now), _path(agent), _step(agent, now), gates(agent), _review(agent), _watch(agent)]
    parts += [_rejected(agent), history(agent, 5)]
    return "\n\n".join("\n".join(lines) for part in parts if (lines := list(part)))


def _head(agent: AgentDeployment, now: datetime) -> Iterator[str]:
    state, meta = agent.status, agent.metadata
    yield f"AgentDeployment {meta.namespace}/{meta.name}: {state.phase}, epoch {state.epoch}"
    yield f"wanted     {agent.spec.policy_version}"
    yield f"stable     {state.stable.name if state.stable else '-'}"
    if state.candidate:
        known = state.rollout
        tried = f" (try {known.attempt}, for {span(now - known.began)})" if known else ""
        yield f"candidate  {state.candidate.name}{tried}"
    yield f"replicas   {state.ready_replicas} of {state.replicas} ready"
    for label, type_ in (("progress", "Progressing"), ("override", "Overridden"), ("holds", "StableHolds")):
        said = conditions.get(state.conditions, type_)
        if said and (type_ != "Overridden" or said.status == "True"):
            yield f"{label:<10} {said.status}, {said.reason}: {said.message}"
    if state.observed_generation != meta.generation:
        yield "note       the operator has not read the latest spec yet"
    if agent.spec.rollout.paused:
        yield "note       paused by spec.rollout.paused"


def _path(agent: AgentDeployment) -> Iterator[str]:
    """The phases in order, the present one in brackets."""
    step, strategy = agent.status.step, agent.spec.strategy
    if step is None:
        return
    phases = [("Loading", 0, "load")]
    if strategy and strategy.shadow:
        phases.append(("Shadow", 0, "shadow"))
    canary = strategy.canary.steps if strategy and strategy.canary else []
    phases += [("Canary", i, f"canary {s.weight} %") for i, s in enumerate(canary, 1)]
    if agent.spec.approval == "Required":
        phases.append(("Approval", 0, "approval"))
    here = (step.kind, step.index if step.kind == "Canary" else 0)
    shown = [f"[{label}]" if (kind, index) == here else label for kind, index, label in phases]
    yield " > ".join([*shown, "stable"])


def _step(agent: AgentDeployment, now: datetime) -> Iterator[str]:
    step, strategy, tried = agent.status.step, agent.spec.strategy, agent.status.rollout
    if step is None:
        return
    since = f", since {span(now - step.since)}" if step.since else ""
    match step.kind:
        case "Shadow":
            of = f" of {strategy.shadow.units}" if strategy and strategy.shadow else ""
            yield f"step       Shadow{since}: {tried.shadowed if tried else 0}{of} episodes shadowed"
        case "Canary":
            steps = strategy.canary.steps if strategy and strategy.canary else []
            asked = steps[step.index - 1] if 0 < step.index <= len(steps) else None
            where = f"Canary {step.index} of {len(steps)}{since}"
            yield f"step       {where}: weight {step.weight} %, {_units(agent, asked)}"
        case other:
            yield f"step       {other}{since}"
    if waits := _waits(agent, now):
        yield f"waits      {waits}"
    if tried and strategy and strategy.canary:
        idle = timedelta(seconds=tried.idle_seconds) + (now - tried.idle_since if tried.idle_since else timedelta(0))
        most = strategy.canary.max_duration
        yield f"time left  {span(min(most, most - (now - tried.began) + idle))} of {span(most)}"


def _units(agent: AgentDeployment, asked: CanaryStep | None) -> str:
    step, tried = agent.status.step, agent.status.rollout
    done = step.units if step else 0
    of = f" of {asked.units}" if asked and asked.units else ""
    unit = (agent.spec.strategy.unit if agent.spec.strategy else "Episode").lower()
    capped = f", at most {step.concurrent} at once in each replica" if step and step.concurrent else ""
    return f"{done}{of} candidate {unit}s scored ({tried.scored if tried else 0} in all){capped}"


def _waits(agent: AgentDeployment, now: datetime) -> str:
    """For whom or for what, beyond units and gates."""
    step, name, strategy = agent.status.step, agent.metadata.name, agent.spec.strategy
    if step is None:
        return ""
    if agent.spec.rollout.paused:
        return f"for a person: checkrein rollout resume {name}"
    if step.kind == "Approval":
        return f"for a person: checkrein rollout promote {name} --full"
    steps = strategy.canary.steps if strategy and strategy.canary else []
    pause = steps[step.index - 1].pause if step.kind == "Canary" and 0 < step.index <= len(steps) else None
    if step.pausing_since is None:
        return ""
    if pause and pause.duration:
        return f"for {span(pause.duration - (now - step.pausing_since))} more"
    return f"for a person: checkrein rollout promote {name} --step" if pause else ""


def gates(agent: AgentDeployment) -> Iterator[str]:
    """A table, and what each gate says."""
    found = agent.status.gates
    if not found:
        return
    header = ("GATE", "METRIC", "ROLE", "VERDICT", "STABLE", "CANDIDATE", "INTERVAL", "UNITS", "LEFT")
    yield from table(
        header,
        (
            (
                *(g.name, g.metric, g.role, g.verdict, number(g.stable), number(g.candidate), interval(g.interval)),
                *(str(g.units), "-" if g.expected is None or g.verdict != "Continue" else f"~{g.expected}"),
            )
            for g in found
        ),
    )
    yield from (f"  {g.name}: {g.message}" for g in found if g.message)


def _review(agent: AgentDeployment) -> Iterator[str]:
    answered = {r.sample for r in agent.spec.rollout.reviews}
    left = [p for p in agent.status.review if not p.answered and p.sample not in answered]
    if left:
        yield f"review     {plural(len(left), 'pair')} to compare: checkrein rollout review {agent.metadata.name}"


def _watch(agent: AgentDeployment) -> Iterator[str]:
    watch = agent.status.watch
    if watch is None:
        return
    asked = agent.spec.strategy.watch if agent.spec.strategy else None
    alarm = f", alarms at {number(1 / asked.alpha)}" if asked else ""
    yield (
        f"watch      mean return lately {number(watch.recent)}, on its record {number(watch.baseline)}; "
        f"{plural(watch.units, 'episode')} watched, evidence of a drop {number(watch.evidence)}{alarm}"
    )
    for other in watch.others:
        if other.state:
            what = {"errors": "share of failed decisions", "cost": "mean cost"}[other.metric]
            yield (
                f"           {what} lately {number(other.recent)}, on its record {number(other.baseline)}; "
                f"evidence of a rise {number(other.evidence)}{alarm}"
            )


def _rejected(agent: AgentDeployment) -> Iterator[str]:
    for r in agent.status.rejected:
        tries = f" after {plural(r.attempt, 'rollout')}" if r.attempt else ""
        yield f"rejected   {r.name}{tries}, {r.reason}: {r.message}"


def history(agent: AgentDeployment, newest: int = 0) -> Iterator[str]:
    """A table, the newest last; `newest` 0: all that status knows."""
    entries = agent.status.history[-newest:]
    if entries:
        header = ("SEQ", "TIME", "EVENT", "POLICY", "FROM", "BY", "REASON", "STORED", "MESSAGE")
        yield from table(header, map(_entry, entries))


def _entry(e: HistoryEntry) -> tuple[str, ...]:
    stored = "yes" if e.stored else "not yet"
    return (
        *(str(e.seq), moment(e.time), e.event, e.policy, e.since or "-", e.by or "-", e.reason or "-"),
        *(stored, e.message),
    )
