"""The walk of a candidate by spec.strategy, one step in one pass: Loading, Shadow, Canary step by step, Approval."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from checkrein.api.deployment import AgentDeploymentStatus
from checkrein.api.meta import format_duration
from checkrein.api.rollout import RolloutStatus, StepStatus
from checkrein.api.strategy import CanaryStep, Strategy
from checkrein.control.plan import Unavailable
from checkrein.control.requests import DrawSeed
from checkrein.control.rollout import asking as asks
from checkrein.control.rollout import gates, history, intake, outcomes, scoring, words
from checkrein.control.rollout.asking import Asking, Refusal
from checkrein.control.rollout.checks import Loads
from checkrein.control.rollout.scene import Scene, updated

Reason = tuple[str, str]


def overridden(scene: Scene, status: AgentDeploymentStatus) -> AgentDeploymentStatus:
    """Under an override no version moves."""
    message = f"PolicyVersion {scene.wanted} waits until spec.override ends"
    return scene.say(outcomes.idle(scene, status, True) if status.step else status, False, "Overridden", message)


def approve_full(what: str) -> str:
    return f"{what}; waits for a person (spec.rollout.approve.full)"


def earnestly(scene: Scene, status: AgentDeploymentStatus, loads: Loads, strategy: Strategy) -> AgentDeploymentStatus:
    """By spec.strategy: not exposed at all unless its gates can be shown."""
    candidate = status.candidate
    assert candidate is not None
    version = scene.observed.versions[candidate.name]
    begun = status.rollout if status.step and status.step.kind != "Loading" else None
    attempt = begun.attempt if begun else history.attempts(status, candidate.name, candidate.artifact.digest) + 1
    asking = asks.asking(scene.agent, version, scene.observed.versions, scene.observed.environments, attempt)
    if isinstance(asking, Refusal):
        return scene.say(outcomes.over(scene, status), False, asking.reason, asking.message)
    if begun is not None and begun.gates_digest != asking.digest:
        # Evidence of one question says nothing about another: a try of its own, with the alpha of one.
        status = updated(outcomes.over(scene, status), candidate=candidate)
        begun, attempt = None, attempt + 1
        fresh = asks.asking(scene.agent, version, scene.observed.versions, scene.observed.environments, attempt)
        assert isinstance(fresh, Asking)
        asking = fresh
    if begun is None:
        return _load(scene, status, loads, asking, attempt)
    return _under_way(scene, _clamped(status, strategy), loads, asking)


def _load(
    scene: Scene, status: AgentDeploymentStatus, loads: Loads, asking: Asking, attempt: int
) -> AgentDeploymentStatus:
    """Loaded everywhere before anybody meets it; then the first step begins."""
    if status.step is None:
        status = updated(status, step=StepStatus(kind="Loading", since=scene.now))
    if scene.override:
        return overridden(scene, status)
    if not loads.everywhere:
        return scene.say(status, True, "Loading", loads.message)
    if scene.spec.rollout.paused:
        return scene.say(status, False, "Paused", f"{loads.message}, and waits until spec.rollout.paused is false")
    candidate = status.candidate
    assert candidate is not None
    id_ = f"{candidate.name}.{attempt}"
    try:
        seed = scene.answers.ask(DrawSeed(scene.agent.metadata.uid, id_))
    except Unavailable as no:
        return scene.say(status, False, no.reason, no.message)
    rollout = RolloutStatus(id=id_, seed=seed, attempt=attempt, began=scene.now, gates_digest=asking.digest)
    tries = history.tried(status, candidate.name, candidate.artifact.digest, attempt)
    status = updated(status, rollout=rollout, **tries)
    strategy = scene.strategy
    assert strategy is not None
    return _shadowing(scene, status, asking) if strategy.shadow else _stepped(scene, status, asking, 1)


def _shadowing(scene: Scene, status: AgentDeploymentStatus, asking: Asking) -> AgentDeploymentStatus:
    """The shadow begins. Its time is not the canary's."""
    status = updated(
        status,
        step=StepStatus(kind="Shadow", since=scene.now),
        gates=gates.begun(asking, shadow=True),
        streams=intake.afresh(status.streams),
        review=[],
    )
    status = outcomes.idle(scene, status, True)
    return scene.say(status, True, "Shadowing", f"{_name(status)} begins to decide beside stable, for nobody")


def _name(status: AgentDeploymentStatus) -> str:
    return status.candidate.name if status.candidate else ""


def _stepped(scene: Scene, status: AgentDeploymentStatus, asking: Asking, index: int) -> AgentDeploymentStatus:
    """The canary's step of this number begins; the first one with gates that have seen nothing."""
    strategy = scene.strategy
    assert strategy is not None
    assert strategy.canary is not None
    wanted = strategy.canary.steps[index - 1]
    step = StepStatus(kind="Canary", index=index, weight=wanted.weight, concurrent=wanted.concurrent, since=scene.now)
    fields: dict[str, Any] = {"step": step}
    if index == 1:
        fields |= {"gates": gates.begun(asking, shadow=False), "streams": intake.afresh(status.streams), "review": []}
    status = outcomes.idle(scene, updated(status, **fields), False)
    of = f"step {index} of {len(strategy.canary.steps)}"
    return scene.say(status, True, "Canary", f"{_name(status)}: {of} begins, {wanted.weight} % of new units")


def _clamped(status: AgentDeploymentStatus, strategy: Strategy) -> AgentDeploymentStatus:
    """The step as the spec has it now: weights may be edited under way."""
    step = status.step
    if step is None or step.kind not in ("Canary", "Approval") or strategy.canary is None or step.index == 0:
        return status
    steps = strategy.canary.steps
    index = min(step.index, len(steps))
    now = {"index": index, "weight": steps[index - 1].weight, "concurrent": steps[index - 1].concurrent}
    return updated(status, step=step.model_copy(update=now))


def _under_way(scene: Scene, status: AgentDeploymentStatus, loads: Loads, asking: Asking) -> AgentDeploymentStatus:
    """Look at the evidence, which may always stop it; then go on, unless somebody holds it."""
    assert status.step is not None
    look = scoring.shadow if status.step.kind == "Shadow" else scoring.canary
    try:
        status = look(scene, status, asking)
    except Unavailable as no:
        return scene.say(status, False, no.reason, no.message)
    step = status.step
    assert step is not None
    if failed := gates.failed(status.gates):
        where = "beside stable" if step.kind == "Shadow" else f"at {step.weight} %"
        message = f"gate {failed.name} failed {where}: {failed.message}"
        return outcomes.rejected(scene, status, "Rejected", "GateFailed", message)
    if held := _held(scene, status):
        return scene.say(outcomes.idle(scene, status, True), False, *held)
    if approval := words.approve_full(scene.agent, status, _name(status)):
        message = f"promoted by {approval.by} (spec.rollout.approve.full)"
        return _promoted(scene, status, loads, approval.by, "Approved", message)
    match step.kind:
        case "Shadow":
            return _shadow(scene, status, loads, asking)
        case "Canary":
            return _canary(scene, status, loads, asking)
        case _:
            return _finished(scene, status, loads, "all steps are done")


def _held(scene: Scene, status: AgentDeploymentStatus) -> Reason | None:
    """Why nothing may move for now. Evidence still may stop it."""
    name = _name(status)
    if scene.override:
        return "Overridden", f"PolicyVersion {scene.wanted} waits until spec.override ends"
    if scene.spec.rollout.paused:
        return "Paused", (
            f"{name} stays where it is until spec.rollout.paused is false; evidence goes on, and a gate may still fail"
        )
    if scene.spec.replicas == 0:
        return "ScaledToZero", f"{name} stays where it is: spec.replicas is 0"
    return None


def _shadow(scene: Scene, status: AgentDeploymentStatus, loads: Loads, asking: Asking) -> AgentDeploymentStatus:
    strategy, rollout = scene.strategy, status.rollout
    assert strategy is not None
    assert rollout is not None
    status = outcomes.idle(scene, status, True)
    units = strategy.shadow.units if strategy.shadow else 0
    approval = words.approve_step(scene.agent, status, _name(status), 0)
    if rollout.shadowed < units and approval is None:
        message = f"{_name(status)} decides beside stable, for nobody: {rollout.shadowed} of {units} episodes"
        return scene.say(status, True, "Shadowing", message)
    if strategy.canary:
        return _stepped(scene, status, asking, 1)
    return _finished(scene, status, loads, f"{rollout.shadowed} episodes were shadowed")


def _canary(scene: Scene, status: AgentDeploymentStatus, loads: Loads, asking: Asking) -> AgentDeploymentStatus:
    strategy, step, rollout = scene.strategy, status.step, status.rollout
    assert strategy is not None
    assert strategy.canary is not None
    assert step is not None
    assert rollout is not None
    steps = strategy.canary.steps
    wanted = steps[step.index - 1]
    if words.approve_step(scene.agent, status, _name(status), step.index):
        rollout = rollout.model_copy(update={"approved_steps": max(rollout.approved_steps, step.index)})
        status = updated(status, rollout=rollout)
    if rollout.approved_steps < step.index and (waits := _waits(scene, step, wanted)):
        if step.pausing_since is None and waits[0] != "Canary":
            status = updated(status, step=step.model_copy(update={"pausing_since": scene.now}))
        status = outcomes.idle(scene, status, waits[0] != "Canary")
        return _in_time(scene, status, strategy) or _said(scene, status, waits, len(steps))
    if step.index < len(steps):
        return _stepped(scene, status, asking, step.index + 1)
    status = outcomes.idle(scene, status, False)
    if gates.proved(status.gates):
        return _finished(scene, status, loads, "every gate that must pass has passed")
    open_ = "; ".join(f"{g.name}: {g.message}" for g in gates.undecided(status.gates)[:3])
    waiting = ("Canary", f"all steps are done, gates are undecided: {open_}")
    return _in_time(scene, status, strategy) or _said(scene, status, waiting, len(steps))


def _said(scene: Scene, status: AgentDeploymentStatus, waits: Reason, steps: int) -> AgentDeploymentStatus:
    """In which step it waits for what. Waiting for a person is not progress."""
    assert status.step is not None
    assert status.rollout is not None
    where = f"{_name(status)}: step {status.step.index} of {steps}, {status.step.weight} % of new units"
    stuck = f"; {why}" if (why := scoring.stuck(scene, status.rollout)) else ""
    return scene.say(status, waits[0] != "WaitingForPerson", waits[0], f"{where}: {waits[1]}{stuck}")


def _waits(scene: Scene, step: StepStatus, wanted: CanaryStep) -> Reason | None:
    """What this step waits for: units, the end of its pause, or a person."""
    if wanted.units is not None and step.units < wanted.units and step.pausing_since is None:
        return "Canary", f"{step.units} of {wanted.units} units scored"
    if wanted.pause is None:
        return None
    if wanted.pause.duration is None:
        return "WaitingForPerson", f"pauses until a person goes on (spec.rollout.approve.step: {step.index})"
    left = (step.pausing_since or scene.now) + wanted.pause.duration - scene.now
    return ("Pausing", f"pauses for {format_duration(wanted.pause.duration)}") if left > timedelta() else None


def _in_time(scene: Scene, status: AgentDeploymentStatus, strategy: Strategy) -> AgentDeploymentStatus | None:
    """The end of a rollout that takes too long; None while there is time, or nothing is left to be shown."""
    rollout, canary = status.rollout, strategy.canary
    assert rollout is not None
    assert canary is not None
    shown = any(g.role == "Prove" for g in status.gates) and gates.proved(status.gates)
    if shown or rollout.idle_since or outcomes.busy_seconds(scene, rollout) < canary.max_duration.total_seconds():
        return None
    open_ = ", ".join(g.name for g in gates.undecided(status.gates)) or "its steps"
    message = (
        f"undecided after {format_duration(canary.max_duration)} (spec.strategy.canary.maxDuration) "
        f"and {rollout.scored} candidate units: {open_}"
    )
    if why := scoring.stuck(scene, rollout):
        message += f"; {why}"
    return outcomes.rejected(scene, status, "Inconclusive", "Inconclusive", message)


def _finished(scene: Scene, status: AgentDeploymentStatus, loads: Loads, what: str) -> AgentDeploymentStatus:
    """Nothing is left to be shown; is a person asked?"""
    assert status.step is not None
    if not gates.proved(g for g in status.gates if status.step and status.step.kind != "Shadow"):
        return scene.say(status, True, "Canary", f"{_name(status)}: gates are undecided")
    if scene.spec.approval == "Required":
        step = status.step.model_copy(update={"kind": "Approval"})
        status = outcomes.idle(scene, updated(status, step=step), True)
        return scene.say(status, False, "WaitingForPerson", approve_full(f"{_name(status)}: {what}"))
    return _promoted(scene, status, loads, "", "GatesPassed" if status.gates else "Shadowed", what)


def _promoted(
    scene: Scene, status: AgentDeploymentStatus, loads: Loads, by: str, reason: str, message: str
) -> AgentDeploymentStatus:
    """Loaded on all replicas, and in the store's history: then it is stable."""
    if not loads.everywhere:
        return scene.say(status, True, "Loading", f"{message}; {loads.message}")
    status = history.caught_up(scene, status)
    done = outcomes.promoted(scene, status, by=by, reason=reason, message=message, waits=True)
    if isinstance(done, Unavailable):
        waiting = f"{_name(status)}: {message}; it is promoted once the store has it in its history: {done.message}"
        return scene.say(status, False, "HistoryUnavailable", waiting)
    return done
