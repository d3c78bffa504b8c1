"""Pairs of episodes for people to compare, one of each arm, blind to which is which (metric humanApproval)."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from checkrein.api.deployment import AgentDeploymentStatus
from checkrein.api.rollout import ReviewPair
from checkrein.api.words import Review
from checkrein.control.rollout.ready import Episodes, Ready
from checkrein.judge.blocks import Block

PAIRS_LIMIT, OPEN_LIMIT, ID_LIMIT = 64, 16, 64


def is_left_candidate(seed: str, sample: str) -> bool:
    """Whose is whose: a keyed function of the id."""
    return _keyed(seed, f"side/{sample}")[0] % 2 == 0


def _keyed(seed: str, what: str) -> bytes:
    return hmac.digest(seed.encode(), f"review/{what}".encode(), "sha256")


def sampled(pairs: Sequence[ReviewPair], ready: Sequence[Ready], seed: str) -> list[ReviewPair]:
    """The pairs with new ones: a known episode of a block in each arm, while few enough are open."""
    listed = list(pairs)
    candidates = [e for block in ready if (e := _known(block.candidate))]
    stables = [e for block in ready if (e := _known(block.stable))]
    for candidate, stable in zip(candidates, stables, strict=False):
        if sum(not p.answered for p in listed) < OPEN_LIMIT:
            sample = _keyed(seed, f"pair/{candidate}/{stable}").hex()[:16]
            left, right = (candidate, stable) if is_left_candidate(seed, sample) else (stable, candidate)
            listed.append(ReviewPair(sample=sample, left=left, right=right))
    while len(listed) > PAIRS_LIMIT:
        listed.remove(next(p for p in listed if p.answered))
    return listed


def _known(units: Sequence[Episodes]) -> str | None:
    """The first episode of these that was seen to its end."""
    seen = (e.id for unit in units for e in unit or () if e.known and len(e.id) <= ID_LIMIT)
    return next(seen, None)


def answered(
    status: AgentDeploymentStatus, reviews: Sequence[Review], seed: str
) -> tuple[AgentDeploymentStatus, list[Block]]:
    """The pairs that people have compared since, each counted once, as blocks of one unit in each arm."""
    said = {r.sample: r.answer for r in reviews}
    blocks: list[Block] = []
    pairs: list[ReviewPair] = []
    for pair in status.review:
        if not pair.answered and (answer := said.get(pair.sample)):
            blocks.append(_block(answer, is_left_candidate(seed, pair.sample)))
            pair = pair.model_copy(update={"answered": True})
        pairs.append(pair)
    return (status.model_copy(update={"review": pairs}) if blocks else status), blocks


def _block(answer: str, left_is_candidate: bool) -> Block:
    if answer == "Equal":
        return Block((0.5,), (0.5,))
    better = (answer == "Left") == left_is_candidate
    return Block((1.0,), (0.0,)) if better else Block((0.0,), (1.0,))
