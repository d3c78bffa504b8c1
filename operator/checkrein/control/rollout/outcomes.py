"""How a rollout ends: promoted, rolled back to, rejected, or dropped without a verdict."""

from __future__ import annotations

from typing import Any

from checkrein.api.deployment import AgentDeploymentStatus, PolicyPointer, Rejection
from checkrein.api.meta import bounded
from checkrein.api.rollout import HistoryEntry, RolloutStatus, WatchStatus
from checkrein.control.plan import Unavailable
from checkrein.control.rollout import gates, history, intake, records, words
from checkrein.control.rollout.scene import Scene, kept, updated


def over(scene: Scene, status: AgentDeploymentStatus, *, inconclusive: bool = False) -> AgentDeploymentStatus:
    """Nobody is a candidate any more. What was found stays to be read; what was said about it is done."""
    if status.candidate is None and status.step is None:
        return status
    if status.candidate:
        status = words.spent(scene.agent, status, status.candidate.name)
    under_way = status.step is not None
    fields: dict[str, Any] = {"candidate": None, "step": None, "review": []}
    if under_way:
        fields["gates"] = gates.closed(status.gates, inconclusive=inconclusive)
    if status.step and status.step.kind != "Loading":  # until then stable's own units are counted on
        fields["streams"] = intake.afresh(status.streams)
    if status.rollout:
        fields["rollout"] = status.rollout.model_copy(update={"idle_since": None})
    return updated(status, **fields)


def rejected(
    scene: Scene,
    status: AgentDeploymentStatus,
    event: history.Event,
    reason: str,
    message: str,
    by: str = "",
) -> AgentDeploymentStatus:
    """The candidate is taken off every replica, and not tried again until a person asks. Waits for nobody."""
    candidate = status.candidate
    assert candidate is not None
    name, digest = candidate.name, candidate.artifact.digest
    text = bounded(f"{name}: {message}{kept(status)}; set spec.rollout.retry to try it once more")
    attempt = max(1, history.attempts(status, name, digest))
    status = history.added(
        status,
        history.entry(
            scene,
            status,
            event,
            name,
            digest,
            since=status.stable.name if status.stable else None,
            by=by,
            reason=reason,
            message=text,
            judged=status.step is not None,
        ),
    )
    entry = Rejection(
        name=name,
        reason=reason,
        message=text,
        digest=digest,
        attempt=attempt,
        generation=scene.agent.metadata.generation,
    )
    status = history.rejected(status, entry)
    status = over(scene, status, inconclusive=event == "Inconclusive")
    return scene.say(status, False, reason, text)


def promoted(
    scene: Scene, status: AgentDeploymentStatus, *, by: str = "", reason: str, message: str, waits: bool
) -> AgentDeploymentStatus | Unavailable:
    """The candidate is stable. `waits`: not before the store has its entry and all before it. Raises Unanswered."""
    candidate = status.candidate
    assert candidate is not None
    new = _entry(scene, status, "Promoted", candidate, by, reason, message)
    behind = any(not e.stored for e in status.history)  # the store has them in their order
    away = Unavailable("HistoryUnavailable", "the store has not taken what came before")
    answer = away if behind else history.stored(scene, new)
    if isinstance(answer, Unavailable) and waits:
        return answer
    new = new if isinstance(answer, Unavailable) else answer
    return _acts(scene, status, candidate, new, records.proved(status.gates) if status.step else None)


def rolled_back(
    scene: Scene, status: AgentDeploymentStatus, *, by: str = "", reason: str, message: str
) -> AgentDeploymentStatus:
    """The candidate, stable once, is stable again. Waits for nobody."""
    candidate = status.candidate
    assert candidate is not None
    return _acts(scene, status, candidate, _entry(scene, status, "RolledBack", candidate, by, reason, message), None)


def _entry(
    scene: Scene,
    status: AgentDeploymentStatus,
    event: history.Event,
    candidate: PolicyPointer,
    by: str,
    reason: str,
    message: str,
) -> HistoryEntry:
    return history.entry(
        scene,
        status,
        event,
        candidate.name,
        candidate.artifact.digest,
        since=status.stable.name if status.stable else None,
        by=by,
        reason=reason,
        message=message,
        judged=event == "Promoted" and status.step is not None,
    )


def _acts(
    scene: Scene,
    status: AgentDeploymentStatus,
    candidate: PolicyPointer,
    new: HistoryEntry,
    watch: WatchStatus | None,
) -> AgentDeploymentStatus:
    status = over(scene, history.added(status, new))
    status = updated(status, stable=candidate, watch=watch, streams=intake.afresh(status.streams))
    return scene.say(status, False, "Complete", decides(status))


def decides(status: AgentDeploymentStatus) -> str:
    """Who decides, and how it came to it."""
    stable = status.stable
    assert stable is not None
    last = next((e for e in reversed(status.history) if e.event in history.ACTING), None)
    if last is None or last.policy != stable.name:
        return f"PolicyVersion {stable.name} decides"
    by = f", by {last.by}" if last.by else ""
    if last.event == "RolledBack":
        return f"PolicyVersion {stable.name} decides again, rolled back from {last.since}{by}"
    before = f", before it {last.since}" if last.since else ""
    return f"PolicyVersion {stable.name} decides{before}{by}"


def counted(before: AgentDeploymentStatus, after: AgentDeploymentStatus) -> AgentDeploymentStatus:
    """The status with its epoch: one more wherever another one acts, or for other units, than was written last."""
    if _acting(before) == _acting(after):
        return after
    begun = after.history[-1].epoch if after.history and before.stable is None else None
    return updated(after, epoch=begun or after.epoch + 1)


def _acting(status: AgentDeploymentStatus) -> object:
    step, rollout = status.step, status.rollout
    if step is None or step.kind == "Loading" or status.candidate is None or rollout is None:
        return (status.stable,)
    return status.stable, status.candidate, rollout.id, step.kind, step.index, step.weight, step.concurrent


def idle(scene: Scene, status: AgentDeploymentStatus, is_idle: bool) -> AgentDeploymentStatus:
    """The rollout with its idle time told: pauses and overrides are not counted by maxDuration."""
    rollout = status.rollout
    if rollout is None or is_idle == (rollout.idle_since is not None):
        return status
    if is_idle:
        fields: dict[str, Any] = {"idle_since": scene.now}
    else:
        assert rollout.idle_since is not None
        passed = max(0, round((scene.now - rollout.idle_since).total_seconds()))
        fields = {"idle_since": None, "idle_seconds": rollout.idle_seconds + passed}
    return updated(status, rollout=rollout.model_copy(update=fields))


def busy_seconds(scene: Scene, rollout: RolloutStatus) -> float:
    """How long the rollout has been under way, idle times left out."""
    since = (scene.now - rollout.idle_since).total_seconds() if rollout.idle_since else 0.0
    return (scene.now - rollout.began).total_seconds() - rollout.idle_seconds - since
