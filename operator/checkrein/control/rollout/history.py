"""Who acted and who was refused: the newest in status, all of it in the store."""

from __future__ import annotations

from typing import Any, Literal

from checkrein.api.deployment import AgentDeploymentStatus, Rejection
from checkrein.api.meta import bounded
from checkrein.api.rollout import HistoryEntry, Try
from checkrein.control.plan import Unavailable
from checkrein.control.requests import AppendHistory, ReadHistory
from checkrein.control.rollout import gates
from checkrein.control.rollout.scene import Scene, updated
from checkrein.store.history import identity

LIMIT, REJECTED_LIMIT, TRIES_LIMIT = 32, 16, 32
AT_ONCE = 3  # each is a question that waits for the one before, and a pass has only so many rounds
REFUSING = frozenset({"Rejected", "Aborted", "Inconclusive"})
ACTING = frozenset({"Promoted", "RolledBack"})
Event = Literal["Promoted", "Rejected", "Aborted", "Inconclusive", "RolledBack", "Retried"]


def entry(
    scene: Scene,
    status: AgentDeploymentStatus,
    event: Event,
    policy: str,
    digest: str,
    *,
    since: str | None = None,
    by: str = "",
    reason: str = "",
    message: str = "",
    judged: bool = False,
) -> HistoryEntry:
    """The next entry. Its time is in whole seconds, as in the API."""
    seq = status.history[-1].seq + 1 if status.history else 1
    return HistoryEntry(
        seq=seq,
        event=event,
        policy=policy,
        digest=digest,
        since=since,
        time=scene.now.replace(microsecond=0),
        epoch=_begun(scene, status, policy, digest) if event in ACTING else None,
        by=by,
        reason=bounded(reason, 256),
        message=bounded(message),
        gates=gates.last_words(status.gates) if judged else [],
    )


def _begun(scene: Scene, status: AgentDeploymentStatus, policy: str, digest: str) -> int:
    """The epoch that begins with this version: the one that has begun where only the status was not written then."""
    last = next((e for e in reversed(status.history) if e.epoch is not None), None)
    made = scene.agent.metadata.creation_timestamp
    if status.stable is not None or last is None or (made and last.time < made):  # an earlier object of this name
        return status.epoch + 1
    repeated = (last.policy, last.digest, last.epoch) == (policy, digest, status.epoch)
    return status.epoch if repeated else status.epoch + 1


def added(status: AgentDeploymentStatus, new: HistoryEntry) -> AgentDeploymentStatus:
    """The status with this entry, in the place of itself."""
    others = [e for e in status.history if identity(e) != identity(new)]
    return updated(status, history=shortened([*others, new]))


def shortened(entries: list[HistoryEntry]) -> list[HistoryEntry]:
    """As many as status holds. What later entries about the same version outdate goes first: the rest is in force."""
    kept = list(entries)
    while len(kept) > LIMIT:
        newest = {e.digest: index for index, e in enumerate(kept)}
        outdated = (index for index, e in enumerate(kept) if e.stored and newest[e.digest] != index)
        del kept[next(outdated, 0)]
    return kept


def stored(scene: Scene, new: HistoryEntry) -> HistoryEntry | Unavailable:
    """The entry after it was appended in the store. Raises Unanswered."""
    request = AppendHistory(scene.agent.metadata.namespace, scene.agent.metadata.name, new)
    answer = scene.answers.ask_all((request,))[request]
    return answer if isinstance(answer, Unavailable) else new.model_copy(update={"seq": answer, "stored": True})


def caught_up(scene: Scene, status: AgentDeploymentStatus) -> AgentDeploymentStatus:
    """Entries that are written here only are appended to the store, in their order, until it refuses one.

    Those of this very pass are not yet: after a crash it would make them again, at another time.
    """
    listed, written = list(status.history), scene.agent.status.history
    waiting = [index for index, old in enumerate(listed) if not old.stored and old in written]
    for index in waiting[:AT_ONCE]:
        new = stored(scene, listed[index])
        if isinstance(new, Unavailable):
            break
        listed[index] = new
    return updated(status, history=listed) if listed != status.history else status


def recalled(scene: Scene, status: AgentDeploymentStatus) -> AgentDeploymentStatus:
    """A status that knows nothing, after the store was asked: a lost one must not let a rejected version act.

    Its epochs go on, too: an entry is known by its own.

    Raises Unanswered, Unavailable.
    """
    told = scene.answers.ask(ReadHistory(scene.agent.metadata.namespace, scene.agent.metadata.name))
    if not told:
        return status
    entries = [e.model_copy(update={"stored": True}) for e in told]
    last: dict[str, HistoryEntry] = {}
    tries: dict[str, Try] = {}
    for e in entries:
        last.pop(e.digest, None)
        last[e.digest] = e
        if e.event in REFUSING:
            known = tries.pop(e.digest, None)
            attempt = known.attempt + 1 if known else 1
            tries[e.digest] = Try(name=e.policy, digest=e.digest, attempt=attempt)
    rejected = [
        Rejection(
            name=e.policy,
            reason=e.reason or e.event,
            message=e.message,
            digest=e.digest,
            attempt=tries[e.digest].attempt,
        )
        for e in last.values()
        if e.event in REFUSING
    ]
    return updated(
        status,
        history=shortened(entries),
        epoch=max([status.epoch, *(e.epoch or 0 for e in entries)]),
        rejected=[*status.rejected, *rejected][-REJECTED_LIMIT:],
        tries=[*status.tries, *tries.values()][-TRIES_LIMIT:],
    )


def acted(status: AgentDeploymentStatus, name: str, digest: str) -> bool:
    """Whether this version was stable before, and nothing has been held against it since."""
    last = next((e for e in reversed(status.history) if e.digest == digest), None)
    if last is not None:
        return last.event in ACTING
    if any(e.policy == name for e in status.history):
        return False  # that were other bytes
    return any(e.event in ACTING and e.since == name for e in status.history)  # it acted before there was a history


def refused(status: AgentDeploymentStatus, name: str, digest: str) -> Rejection | None:
    """The failed rollout that still stands against this version."""
    for rejection in status.rejected:
        if rejection.attempt and (rejection.digest == digest if rejection.digest else rejection.name == name):
            return rejection
    last = next((e for e in reversed(status.history) if e.digest == digest), None)
    if last is not None and last.event in REFUSING:
        return Rejection(name=last.policy, reason=last.reason, message=last.message, digest=digest, attempt=1)
    return None


def rejected(status: AgentDeploymentStatus, new: Rejection) -> AgentDeploymentStatus:
    """The status with this rejection, once for each version. Of too many, failed checks are forgotten first."""
    others = [r for r in status.rejected if r.name != new.name]
    while len(others) >= REJECTED_LIMIT:
        others.remove(next((r for r in others if not r.attempt), others[0]))
    return updated(status, rejected=[*others, new])


def forgiven(status: AgentDeploymentStatus, name: str, digest: str) -> AgentDeploymentStatus:
    """The status without what stood against this version."""
    left = [r for r in status.rejected if not (r.attempt and (r.digest == digest or r.name == name))]
    return updated(status, rejected=left)


def attempts(status: AgentDeploymentStatus, name: str, digest: str) -> int:
    """Rollouts of this version, by name or bytes, that have begun here."""
    begun = [t.attempt for t in status.tries if name == t.name or digest == t.digest]
    failed = [r.attempt for r in status.rejected if name == r.name or digest == r.digest]
    return max([0, *begun, *failed])


def tried(status: AgentDeploymentStatus, name: str, digest: str, attempt: int) -> dict[str, Any]:
    """The field `tries` with this attempt."""
    others = [t for t in status.tries if t.name != name]
    return {"tries": [*others, Try(name=name, digest=digest, attempt=attempt)][-TRIES_LIMIT:]}
