"""The walk of a candidate: Loading, Shadow, Canary step by step, Approval, stable. One step in one pass."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from checkrein.api import conditions
from checkrein.api.deployment import AgentDeploymentStatus, PolicyPointer
from checkrein.api.meta import format_duration
from checkrein.api.rollout import RolloutStatus, StepStatus
from checkrein.api.strategy import CanaryStep, Strategy
from checkrein.control.plan import Unavailable
from checkrein.control.requests import DrawSeed
from checkrein.control.rollout import checks, gates, history, intake, outcomes, scoring, watch, words
from checkrein.control.rollout.checks import Loads
from checkrein.control.rollout.gates import Asking
from checkrein.control.rollout.scene import Scene, updated

Reason = tuple[str, str]


def advance(scene: Scene, status: AgentDeploymentStatus) -> AgentDeploymentStatus:
    """One step from stable towards the version that is wanted. Raises Unanswered."""
    status = words.forgotten(scene.agent, status)
    if status.stable and status.stable.name == scene.wanted:
        return _settled(scene, status)
    if status.stable is None and not status.history:
        try:
            status = history.recalled(scene, status)
        except Unavailable as no:
            message = f"whether {scene.wanted} was refused before is not known: {no.message}"
            return scene.say(status, False, "HistoryUnavailable", message, candidate=None)
    status = _retried(scene, status)
    if status.candidate and status.candidate.name != scene.wanted:
        status = outcomes.over(scene, status)
    if refusal := checks.refuse(scene, status):
        if scene.override and status.step is None:
            return _overridden(scene, status)
        return scene.say(outcomes.over(scene, status), False, *refusal)
    candidate = checks.pointer(scene.observed.versions[scene.wanted])
    if status.candidate and status.candidate != candidate:
        status = outcomes.over(scene, status)
    return _towards(scene, status, candidate)


def _settled(scene: Scene, status: AgentDeploymentStatus) -> AgentDeploymentStatus:
    """Who is wanted decides. Does it do as well as it did?"""
    breach = status.watch and scene.agent.spec.strategy and scene.agent.spec.strategy.watch
    if breach and breach.on_breach == "Rollback" and watch.is_breached(status) and not scene.override:
        before = watch.before(scene, status)
        if before is not None:
            return _brought_back(scene, status, before)
    status = outcomes.over(scene, status)
    return scene.say(status, False, "Complete", outcomes.decides(status))


def _brought_back(scene: Scene, status: AgentDeploymentStatus, before: PolicyPointer) -> AgentDeploymentStatus:
    """The one before becomes stable again, once it is loaded; the one that broke is rejected in the same write."""
    breached = status.stable
    assert breached is not None
    status = updated(outcomes.over(scene, status) if status.step else status, candidate=before)
    loads = checks.loads(scene, before)
    if not loads.everywhere:
        return scene.say(status, True, "Loading", f"{breached.name} did worse than before; {loads.message}")
    message = "its mean return has fallen below its own record (spec.strategy.watch)"
    # As a candidate it is rejected by the same mechanism, in the name of the one that acts from now on.
    judged = updated(status, candidate=breached, stable=before)
    judged = outcomes.rejected(scene, judged, "Rejected", "WatchBreached", message)
    judged = updated(judged, candidate=before, stable=breached)
    return outcomes.rolled_back(scene, judged, reason="WatchBreached", message=f"{breached.name}: {message}")


def _retried(scene: Scene, status: AgentDeploymentStatus) -> AgentDeploymentStatus:
    """Lift what stands against the wanted version, if a person has said so anew."""
    version = scene.observed.versions.get(scene.wanted)
    if version is None:
        return status
    status, nonce = words.retry(scene.agent, status, scene.wanted, status.history)
    if nonce is None:
        return status
    digest = version.spec.artifact.digest
    if history.refused(status, scene.wanted, digest) is None:
        return status
    attempts = history.attempts(status, scene.wanted, digest)
    entry = history.entry(
        scene, status, "Retried", scene.wanted, digest, reason="Retried", message=words.retried(nonce)
    )
    status = history.added(history.forgiven(status, scene.wanted, digest), entry)
    return updated(status, **history.tried(status, scene.wanted, digest, attempts))


def _towards(scene: Scene, status: AgentDeploymentStatus, candidate: PolicyPointer) -> AgentDeploymentStatus:
    """A version that may be loaded: loaded where a person does not hold the reins."""
    back = history.acted(status, candidate.name, candidate.artifact.digest)
    if status.candidate is None:
        if scene.override:
            return _overridden(scene, status)
        if scene.spec.rollout.paused and not back:
            message = f"{candidate.name} waits until spec.rollout.paused is false"
            return scene.say(status, False, "Paused", message)
        status = updated(status, candidate=candidate)
    loads = checks.loads(scene, candidate)
    if abort := words.abort(scene.agent, status, candidate.name):
        why = f": {abort.reason}" if abort.reason else ""
        message = f"aborted by {abort.by or 'a person'} (spec.rollout.abort){why}"
        return outcomes.rejected(scene, status, "Aborted", "Aborted", message, abort.by)
    if loads.refusal and not (scene.override and status.step is None):
        return checks.rejected(scene, outcomes.over(scene, status), candidate.name, loads.refusal)
    if status.stable is None or back or scene.strategy is None:
        return _plainly(scene, status, loads, back)
    return _earnestly(scene, status, loads, scene.strategy)


def _overridden(scene: Scene, status: AgentDeploymentStatus) -> AgentDeploymentStatus:
    """Under an override no version moves."""
    message = f"PolicyVersion {scene.wanted} waits until spec.override ends"
    return scene.say(outcomes.idle(scene, status, True) if status.step else status, False, "Overridden", message)


def _plainly(scene: Scene, status: AgentDeploymentStatus, loads: Loads, back: bool) -> AgentDeploymentStatus:
    """No strategy, a first policy or a rollback: the checks are enough."""
    if status.step is not None:  # a rollout was under way, and what it was to show is not asked any more
        candidate = status.candidate
        status = updated(outcomes.over(scene, status), candidate=candidate)
    if scene.override:
        return _overridden(scene, status)
    if not loads.everywhere:
        return scene.say(status, True, "Loading", loads.message)
    if back and status.stable:
        message = f"asked for again (spec.policyVersion), instead of {status.stable.name}"
        return outcomes.rolled_back(scene, status, reason="Asked", message=message)
    if scene.spec.rollout.paused:
        message = f"{loads.message}, and waits until spec.rollout.paused is false"
        return scene.say(status, False, "Paused", message)
    approval = words.approve_full(scene.agent, status, scene.wanted)
    if status.stable and scene.spec.approval == "Required" and approval is None:
        return scene.say(status, False, "WaitingForPerson", _approve_full(loads.message))
    done = outcomes.promoted(
        scene, status, by=approval.by if approval else "", reason="Checked", message=loads.message, waits=False
    )
    assert isinstance(done, AgentDeploymentStatus)
    return done


def _approve_full(what: str) -> str:
    return f"{what}; waits for a person (spec.rollout.approve.full)"


def _earnestly(scene: Scene, status: AgentDeploymentStatus, loads: Loads, strategy: Strategy) -> AgentDeploymentStatus:
    """By spec.strategy: not exposed at all unless its gates can be shown."""
    candidate = status.candidate
    assert candidate is not None
    version = scene.observed.versions[candidate.name]
    begun = status.rollout if status.step and status.step.kind != "Loading" else None
    attempt = begun.attempt if begun else history.attempts(status, candidate.name, candidate.artifact.digest) + 1
    asking = gates.asking(scene.agent, version, scene.observed.versions, scene.observed.environments, attempt)
    if isinstance(asking, gates.Refusal):
        return scene.say(outcomes.over(scene, status), False, asking.reason, asking.message)
    if begun is not None and begun.gates_digest != asking.digest:
        # Evidence of one question says nothing about another: a try of its own, with the alpha of one.
        status = updated(outcomes.over(scene, status), candidate=candidate)
        begun, attempt = None, attempt + 1
        fresh = gates.asking(scene.agent, version, scene.observed.versions, scene.observed.environments, attempt)
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
        return _overridden(scene, status)
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
    status = look(scene, status, asking)
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
    where = f"{_name(status)}: step {status.step.index} of {steps}, {status.step.weight} % of new units"
    return scene.say(status, waits[0] != "WaitingForPerson", waits[0], f"{where}: {waits[1]}")


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
    return outcomes.rejected(scene, status, "Inconclusive", "Inconclusive", message)


def _finished(scene: Scene, status: AgentDeploymentStatus, loads: Loads, what: str) -> AgentDeploymentStatus:
    """Nothing is left to be shown; is a person asked?"""
    assert status.step is not None
    if not gates.proved(g for g in status.gates if status.step and status.step.kind != "Shadow"):
        return scene.say(status, True, "Canary", f"{_name(status)}: gates are undecided")
    if scene.spec.approval == "Required":
        step = status.step.model_copy(update={"kind": "Approval"})
        status = outcomes.idle(scene, updated(status, step=step), True)
        return scene.say(status, False, "WaitingForPerson", _approve_full(f"{_name(status)}: {what}"))
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


def next_look(scene: Scene, status: AgentDeploymentStatus, soon: timedelta, usual: timedelta) -> timedelta:
    """When something may have changed that no watch tells, as far as a candidate is concerned."""
    if status.candidate is None:
        return usual
    if status.step is None or status.step.kind == "Loading":
        return usual if scene.override else soon
    look = min(usual, scoring.EVERY)
    strategy, step = scene.strategy, status.step
    if strategy and strategy.canary and step.pausing_since and 0 < step.index <= len(strategy.canary.steps):
        pause = strategy.canary.steps[step.index - 1].pause
        if pause and pause.duration:
            left = step.pausing_since + pause.duration - scene.now
            look = min(look, left) if left > timedelta() else look
    return look


def is_waiting(status: AgentDeploymentStatus) -> bool:
    """Whether the next word is a person's."""
    said = conditions.get(status.conditions, "Progressing")
    return said is not None and said.reason in ("Paused", "WaitingForPerson")
