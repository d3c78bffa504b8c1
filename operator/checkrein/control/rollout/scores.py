"""What gates read from blocks of episodes: one score for each unit."""

from __future__ import annotations

import math

from checkrein.control.rollout.asking import Asked
from checkrein.control.rollout.ledger import Episode
from checkrein.control.rollout.ready import Episodes, Ready
from checkrein.judge.blocks import Block, Score


def block(asked: Asked, ready: Ready) -> Block:
    """What one gate reads from a block."""
    subgroup = asked.gate.subgroup

    def within(units: tuple[Episodes, ...]) -> tuple[bool, ...] | None:
        return None if subgroup is None else tuple(_is_in(subgroup.name, u) for u in units)

    return Block(
        candidate=tuple(score(asked, u, "candidate") for u in ready.candidate),
        stable=tuple(score(asked, u, "stable") for u in ready.stable),
        candidate_in=within(ready.candidate),
        stable_in=within(ready.stable),
        probability=ready.probability,
    )


def _is_in(group: str, unit: Episodes) -> bool:
    """Whether a unit belongs to a subgroup. One of which nothing is known might, which is unfavourable."""
    return unit is None or any(group in e.groups for e in unit)


def score(asked: Asked, unit: Episodes, arm: str) -> Score:
    """Mean over the unit's episodes, those of the subgroup where there is one."""
    if not unit:
        return None
    group = asked.gate.subgroup
    told = [e for e in unit if group is None or group.name in e.groups] or list(unit)
    scores = [_score(asked, e, arm) for e in told]
    known = [s for s in scores if s is not None]
    return math.fsum(known) / len(known) if len(known) == len(scores) else None


def _score(asked: Asked, episode: Episode, arm: str) -> Score:
    if not episode.known:
        return None
    gate, test = asked.gate, asked.test
    match gate.metric:
        case "return":
            if episode.worst:
                return test.clip[0] if test.clip else test.low
            return episode.reward if episode.complete and math.isfinite(episode.reward) else None
        case "cost":
            least = max(episode.cost, 0.0) if math.isfinite(episode.cost) else None
            return test.maximum if episode.worst and test.maximum is not None and arm == "candidate" else least
        case "errors":
            return _share(episode.failed, max(episode.decided, episode.failed))  # the first may not have been given
        case "shielded":
            return _share(episode.shielded, episode.decided)
        case "slowDecisions":
            return _share(episode.slow.get(_slow(asked), 0), episode.decided)
        case _:
            return None


def shadow_score(asked: Asked, episode: Episode) -> Score:
    """What the candidate's shadow came to in one episode. An invalid action is a failure."""
    seen = episode.shadow
    decisions = seen.compared + seen.failed + seen.invalid if seen else 0
    if seen is None or not decisions:
        return None
    match asked.gate.metric:
        case "errors":
            return _share(seen.failed + seen.invalid, decisions)
        case "shielded":
            return _share(seen.shielded, decisions)
        case _:
            return _share(seen.slow.get(_slow(asked), 0), decisions)


def _slow(asked: Asked) -> str:
    """Under which name replicas count the decisions that were too slow."""
    return str(asked.gate.dump().get("above", ""))


def _share(part: int, whole: int) -> Score:
    return min(part / whole, 1.0) if whole else None
