"""What each verb means for a deployment as it stands: the change of its spec, or why not. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from checkrein.api.deployment import AgentDeployment, Rejection
from checkrein.api.policy import PolicyVersion
from checkrein.cli.errors import Refusal
from checkrein.cli.rollout.apply import Change

OVER = ("approve", "abort")
"""Words about one rollout, which another one begins without."""


def candidate(agent: AgentDeployment, meant: str | None = None) -> str:
    """The candidate's name, as a word to the rollout has to say it. Raises Refusal where none is under way.

    `meant`: the one that the person has in mind.
    """
    status, name = agent.status, agent.metadata.name
    if status.candidate is None:
        stable = f"; {status.stable.name} decides" if status.stable else ""
        raise Refusal(f"no rollout of {name} is under way{stable}")
    found, wanted = status.candidate.name, agent.spec.policy_version
    if meant not in (None, found):
        raise Refusal(f"the candidate of {name} is {found}, not {meant}; nothing was said of it")
    if wanted != found:
        raise Refusal(f"{name} is changing from {found} to {wanted} (spec.policyVersion); look at its status again")
    return found


def pause(agent: AgentDeployment, paused: bool) -> Change:
    """No step, no promotion and no new candidate, until resumed."""
    name = agent.metadata.name
    state = "is paused" if paused else "goes on"
    if agent.spec.rollout.paused == paused:
        return Change(f"the rollout of {name} {state} already" if paused else f"the rollout of {name} is not paused")
    return Change(f"the rollout of {name} {state}", _words(paused=paused))


def promote(agent: AgentDeployment, by: str, *, full: bool | None, meant: str | None = None) -> Change:
    """Go on: from this step, whatever it waits for, or to the end (`full`).

    `full` None: to the end where only a person's approval is awaited.
    """
    policy, step, name = candidate(agent, meant), agent.status.step, agent.metadata.name
    kind = step.kind if step else "Loading"
    if full or (full is None and kind == "Approval"):
        approve = {"policyVersion": policy, "full": True, "by": by}
        unproved = [f"{g.name} ({g.verdict})" for g in agent.status.gates if g.role == "Prove" and g.verdict != "Pass"]
        notes = [f"not waited for: {', '.join(unproved)}"] if unproved and kind != "Approval" else []
        return Change(f"{policy} is to become stable of {name} now", _words(approve=approve), _held(agent, *notes))
    if step is None or kind == "Loading":
        raise Refusal(
            f"{policy} is still being loaded by the replicas: no step has begun (--full goes on without steps)"
        )
    if kind == "Approval":
        raise Refusal(f"all steps of {policy} are over and approval is awaited: promote --full")
    number = step.index if kind == "Canary" else 0
    where = f"canary step {number}" if number else "the shadow"
    approve = {"policyVersion": policy, "step": number, "by": by}
    units = "" if step.pausing_since else ", without the rest of its units"
    return Change(f"{policy} goes on from {where}{units}", _words(approve=approve), _held(agent))


def abort(agent: AgentDeployment, by: str, reason: str, meant: str | None = None) -> Change:
    """Back to stable."""
    policy, stable = candidate(agent, meant), agent.status.stable
    word = {"policyVersion": policy, "by": by, **({"reason": reason} if reason else {})}
    goes_on = f"; {stable.name} goes on" if stable else ""
    return Change(f"{policy} is to be rejected{goes_on}", _words(abort=word))


def retry(agent: AgentDeployment, version: str) -> Change:
    """Once more, with stricter gates."""
    name, wanted, said = agent.metadata.name, agent.spec.policy_version, agent.spec.rollout.retry
    if said and said.policy_version == version and is_pending(agent):
        return Change(f"another try of {version} is asked for already")
    if rejection(agent, version) is None:
        raise Refusal(f"{version} is not among the versions that {name} rejected ({_rejected(agent)})")
    if wanted != version:
        raise Refusal(
            f"spec.policyVersion of {name} is {wanted}: first `checkrein rollout set {name} {version}`, then retry"
        )
    word = {"policyVersion": version, "nonce": str(max(_nonces(agent), default=0) + 1)}
    return Change(f"{version} is tried once more, with stricter gates", _words(retry=word), _held(agent), OVER)


def choose(agent: AgentDeployment, version: PolicyVersion) -> Change:
    """spec.policyVersion."""
    name, wanted = version.metadata.name, agent.spec.policy_version
    notes = []
    if refused := rejection(agent, name):
        once_more = (
            f"; `checkrein rollout retry {agent.metadata.name} {name}` tries it again" if refused.attempt else ""
        )
        notes.append(f"{name} was rejected here ({refused.reason}: {refused.message}){once_more}")
    if version.status.phase != "Verified":
        notes.append(f"{name} is {version.status.phase}, and only a verified version acts")
    if wanted == name:
        return Change(f"spec.policyVersion of {agent.metadata.name} is {name} already", notes=tuple(notes))
    fields = {"policyVersion": name}
    return Change(
        f"{agent.metadata.name} is to be decided by {name} instead of {wanted}", fields, _held(agent, *notes), OVER
    )


def undo(agent: AgentDeployment, to: str | None) -> Change:
    """The version before; while another one than stable is asked for, stable."""
    name, wanted, stable = agent.metadata.name, agent.spec.policy_version, agent.status.stable
    target = to or _before(agent)
    if to and to not in formerly_stable(agent):
        raise Refusal(f"{to} was never stable here, as far as status.history goes: `checkrein rollout set {name} {to}`")
    if (refused := rejection(agent, target)) and refused.attempt:
        raise Refusal(f"{target} was rejected since ({refused.reason}: {refused.message}); name another one with --to")
    if target == wanted:
        return Change(f"spec.policyVersion of {name} is {target} already")
    said = f"{wanted} is withdrawn; {target} goes on" if stable and stable.name == target else f"back to {target}"
    return Change(f"{name}: {said}", {"policyVersion": target}, _overridden(agent), OVER)


def review(agent: AgentDeployment, answers: Sequence[tuple[str, str]], by: str) -> Change:
    """Answers to pairs of sampled episodes."""
    asked = {pair.sample for pair in agent.status.review}
    for sample, _ in answers:
        if sample not in asked:
            raise Refusal(f"nobody asks about a pair {sample}; asked about are: {', '.join(sorted(asked)) or 'none'}")
    given = [{"sample": sample, "answer": answer, "by": by} for sample, answer in answers]
    return Change(f"{len(given)} answered", _words(reviews=given))


def rejection(agent: AgentDeployment, version: str) -> Rejection | None:
    """Why the version may not act here, where it may not."""
    return next((r for r in agent.status.rejected if r.name == version), None)


def is_pending(agent: AgentDeployment) -> bool:
    """Is spec.rollout.retry still to be done?"""
    said = agent.spec.rollout.retry
    return said is not None and f"retry/{said.policy_version}/{said.nonce}" not in agent.status.words_heeded


def _nonces(agent: AgentDeployment) -> list[int]:
    """Those that have been said, as far as anybody remembers."""
    said = [agent.spec.rollout.retry.nonce] if agent.spec.rollout.retry else []
    heeded = [word.rpartition("/")[2] for word in agent.status.words_heeded if word.startswith("retry/")]
    told = [entry.message.rpartition(" ")[2] for entry in agent.status.history if entry.event == "Retried"]
    return [int(n) for n in (*said, *heeded, *told) if n.isascii() and n.isdecimal() and len(n) < 16]


def formerly_stable(agent: AgentDeployment) -> list[str]:
    """Versions that were stable, the newest first, each once."""
    found = [agent.status.stable.name] if agent.status.stable else []
    for entry in reversed(agent.status.history):
        if entry.event in ("Promoted", "RolledBack"):
            found += [entry.policy, *([entry.since] if entry.since else [])]
    return list(dict.fromkeys(found))


def _before(agent: AgentDeployment) -> str:
    """What undo goes back to. Raises Refusal."""
    status, name = agent.status, agent.metadata.name
    if status.stable is None:
        raise Refusal(f"no version has been stable at {name} yet")
    if agent.spec.policy_version != status.stable.name:
        return status.stable.name
    # Not what it was rolled back from: that would be forward again, to what somebody fled from.
    for entry in reversed(status.history):
        if entry.event == "Promoted" and entry.policy == status.stable.name and entry.since not in (None, entry.policy):
            return str(entry.since)
    known = ", ".join(v for v in formerly_stable(agent) if v != status.stable.name)
    more = f"; name one with --to ({known})" if known else ""
    raise Refusal(f"status.history of {name} knows no version that {status.stable.name} came after{more}")


def _rejected(agent: AgentDeployment) -> str:
    return ", ".join(r.name for r in agent.status.rejected) or "none"


def _held(agent: AgentDeployment, *notes: str) -> tuple[str, ...]:
    """What keeps the word from being heeded at once."""
    paused = (f"paused: `checkrein rollout resume {agent.metadata.name}`",) if agent.spec.rollout.paused else ()
    return (*notes, *paused, *_overridden(agent))


def _overridden(agent: AgentDeployment) -> tuple[str, ...]:
    """The way back is open while a rollout is paused, but not under an override."""
    overridden = any(c.type == "Overridden" and c.status == "True" for c in agent.status.conditions)
    return ("an override decides; no version changes until it ends",) if overridden else ()


def _words(**said: Any) -> dict[str, Any]:
    return {"rollout": said}


def reached(agent: AgentDeployment, goal: str) -> str | None:
    """What has come of the version that is asked for, once the goal is reached: promoted or settled. Raises Refusal
    where it cannot be reached any more without a person."""
    status, wanted = agent.status, agent.spec.policy_version
    if status.observed_generation != agent.metadata.generation or status.candidate:
        return None
    if status.stable and status.stable.name == wanted:
        return f"{wanted} decides"
    retried = agent.spec.rollout.retry
    again = retried and retried.policy_version == wanted and is_pending(agent)
    refused = rejection(agent, wanted)
    if goal == "promoted":
        if refused and not again:
            raise Refusal(standing(agent))
        return None
    moves = any(c.type == "Progressing" and c.status == "True" for c in status.conditions)
    return None if moves or again else standing(agent)


def standing(agent: AgentDeployment) -> str:
    """In one sentence, what has become of the version that is asked for."""
    status, wanted = agent.status, agent.spec.policy_version
    stable = f"; {status.stable.name} decides" if status.stable else "; nobody decides"
    if status.candidate:
        step = f"{status.step.kind} {status.step.index}".removesuffix(" 0") if status.step else "Loading"
        return f"{status.candidate.name} is under way ({step}){stable}"
    if refused := rejection(agent, wanted):
        return f"{wanted} was rejected ({refused.reason}: {refused.message}){stable}"
    said = next((c for c in status.conditions if c.type == "Progressing"), None)
    return f"{wanted} waits ({said.reason}: {said.message}){stable}" if said else f"{wanted} waits{stable}"
