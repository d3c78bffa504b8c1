"""From who acts to who is asked for, one step in one pass: the checks, a person's words, the way by spec.strategy."""

from __future__ import annotations

from datetime import timedelta

from checkrein.api import conditions
from checkrein.api.deployment import AgentDeploymentStatus, PolicyPointer
from checkrein.control.plan import Unavailable
from checkrein.control.rollout import checks, history, outcomes, scoring, walk, watch, words
from checkrein.control.rollout.checks import Loads
from checkrein.control.rollout.scene import Scene, updated


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
            return walk.overridden(scene, status)
        return scene.say(outcomes.over(scene, status), False, *refusal)
    candidate = checks.pointer(scene.observed.versions[scene.wanted])
    if status.candidate and status.candidate != candidate:
        status = outcomes.over(scene, status)
    return _towards(scene, status, candidate)


def _settled(scene: Scene, status: AgentDeploymentStatus) -> AgentDeploymentStatus:
    """Who is wanted decides. Does it do as well as it did?"""
    watched = scene.agent.spec.strategy.watch if scene.agent.spec.strategy else None
    if watched and watched.on_breach == "Rollback" and watch.breach(status) and not scene.override:
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
    message = f"{watch.breach(status)} (spec.strategy.watch)"
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
            return walk.overridden(scene, status)
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
    return walk.earnestly(scene, status, loads, scene.strategy)


def _plainly(scene: Scene, status: AgentDeploymentStatus, loads: Loads, back: bool) -> AgentDeploymentStatus:
    """No strategy, a first policy or a rollback: the checks are enough."""
    if status.step is not None:  # a rollout was under way, and what it was to show is not asked any more
        candidate = status.candidate
        status = updated(outcomes.over(scene, status), candidate=candidate)
    if scene.override:
        return walk.overridden(scene, status)
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
        return scene.say(status, False, "WaitingForPerson", walk.approve_full(loads.message))
    done = outcomes.promoted(
        scene, status, by=approval.by if approval else "", reason="Checked", message=loads.message, waits=False
    )
    assert isinstance(done, AgentDeploymentStatus)
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
