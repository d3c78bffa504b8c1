"""What spec.rollout says, to whom, and whether it has been done. A word about another candidate says nothing."""

from __future__ import annotations

from typing import Any

from checkrein.api.deployment import AgentDeployment, AgentDeploymentStatus
from checkrein.api.digests import canonical, sha256
from checkrein.api.meta import Model
from checkrein.api.rollout import HistoryEntry
from checkrein.api.words import Abort, Approve
from checkrein.control.rollout.scene import updated

HEEDED_LIMIT = 32


def _key(kind: str, word: Any) -> str:
    """The same for the same word: `abort/cartpole-2/1f0c...`."""
    assert isinstance(word, Model)
    return f"{kind}/{word.policy_version}/{sha256(canonical(word))[7:23]}"  # type: ignore[attr-defined]


def _fleeting(agent: AgentDeployment) -> dict[str, Abort | Approve]:
    """Words of the moment that stand in the spec, by key. Done once, they are inert until they are said anew."""
    said = {"approve": agent.spec.rollout.approve, "abort": agent.spec.rollout.abort}
    return {_key(kind, word): word for kind, word in said.items() if word is not None}


def forgotten(agent: AgentDeployment, status: AgentDeploymentStatus) -> AgentDeploymentStatus:
    """What is no longer said may be said again. Nonces are remembered: each one counts once."""
    said = _fleeting(agent)
    heeded = [w for w in status.words_heeded if w.startswith("retry/") or w in said]
    return updated(status, words_heeded=heeded) if heeded != status.words_heeded else status


def spent(agent: AgentDeployment, status: AgentDeploymentStatus, name: str) -> AgentDeploymentStatus:
    """The rollout that these words were about is over: the next one of the same candidate is another matter."""
    return _heeded(status, [key for key, word in _fleeting(agent).items() if word.policy_version == name])


def _heeded(status: AgentDeploymentStatus, keys: list[str]) -> AgentDeploymentStatus:
    new = [k for k in keys if k not in status.words_heeded]
    return updated(status, words_heeded=[*status.words_heeded, *new][-HEEDED_LIMIT:]) if new else status


def _about(agent: AgentDeployment, status: AgentDeploymentStatus, kind: str, name: str) -> Any:
    word = getattr(agent.spec.rollout, kind)
    meant = word is not None and word.policy_version == name and _key(kind, word) not in status.words_heeded
    return word if meant else None


def abort(agent: AgentDeployment, status: AgentDeploymentStatus, name: str) -> Abort | None:
    """A word to abort this candidate."""
    word: Abort | None = _about(agent, status, "abort", name)
    return word


def approve_full(agent: AgentDeployment, status: AgentDeploymentStatus, name: str) -> Approve | None:
    """A word to promote this candidate now."""
    word: Approve | None = _about(agent, status, "approve", name)
    return word if word and word.full else None


def approve_step(agent: AgentDeployment, status: AgentDeploymentStatus, name: str, index: int) -> Approve | None:
    """A word to go on from this step (0: the shadow) of this candidate."""
    word: Approve | None = _about(agent, status, "approve", name)
    return word if word and word.step == index else None


def retry(
    agent: AgentDeployment, status: AgentDeploymentStatus, name: str, history: list[HistoryEntry]
) -> tuple[AgentDeploymentStatus, str | None]:
    """A new nonce for this version, if there is one; it is heeded from now on, whether or not it lifts anything.

    A nonce that history knows is an old one, though the status that knew it was lost.
    """
    word = agent.spec.rollout.retry
    if word is None or word.policy_version != name:
        return status, None
    key = f"retry/{name}/{word.nonce}"
    known = any(e.event == "Retried" and e.policy == name and e.message == retried(word.nonce) for e in history)
    if key in status.words_heeded or known:
        return status, None
    return _heeded(status, [key]), word.nonce


def retried(nonce: str) -> str:
    """How history names a nonce."""
    return f"spec.rollout.retry.nonce {nonce}"
