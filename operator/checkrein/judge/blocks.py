"""The datum of every gate: what the units of one block of planned starts came to, by arm."""

from __future__ import annotations

from dataclasses import dataclass

Score = float | None
"""In the metric's own unit. None: unknown (forked, cut, lost): each test takes its unfavourable bound."""


@dataclass(frozen=True)
class Block:
    """One block. Each tuple has one score for each planned unit of the arm.

    `candidate_in` and `stable_in` say, for a subgroup's gate, which units belong to it (None: all of them do).
    `probability`: where units are assigned one by one (Client), a block holds one of them, and this is the candidate's
    share.
    """

    candidate: tuple[Score, ...]
    stable: tuple[Score, ...]
    candidate_in: tuple[bool, ...] | None = None
    stable_in: tuple[bool, ...] | None = None
    probability: float | None = None
