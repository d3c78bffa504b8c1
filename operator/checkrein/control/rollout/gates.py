"""What the tests say, as status: the gates of a rollout from their first look to their last word."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal

from checkrein.api.meta import bounded
from checkrein.api.rollout import GateStatus, GateVerdict
from checkrein.control.rollout import scores
from checkrein.control.rollout.asking import Asking
from checkrein.control.rollout.ledger import Episode
from checkrein.control.rollout.ready import Ready
from checkrein.judge import canary as judge
from checkrein.judge.blocks import Block


def begun(asking: Asking, *, shadow: bool) -> list[GateStatus]:
    """Gates that have seen nothing."""
    return [
        GateStatus(
            name=asked.name,
            metric=asked.gate.metric,
            role=asked.gate.role,
            verdict="Continue",
            message="nothing has been scored yet",
            state="" if asked.gate.metric == "offPolicy" else judge.begin(asked.test),
        )
        for asked in asking.tests
        if not shadow or asked.shadowed
    ]


def judged(gates: Sequence[GateStatus], asking: Asking, ready: Sequence[Ready]) -> list[GateStatus]:
    """The gates after these blocks. What people say and what logs say is not in them."""
    tests = {asked.name: asked for asked in asking.tests}
    return [
        _updated(gate, asked.test, [scores.block(asked, r) for r in ready])
        if (asked := tests.get(gate.name)) and ready and asked.gate.metric not in ("humanApproval", "offPolicy")
        else gate
        for gate in gates
    ]


def shadowed(gates: Sequence[GateStatus], asking: Asking, episodes: Sequence[Episode], units: int) -> list[GateStatus]:
    """The guards after these shadowed episodes, of `units` that are asked for: a short shadow may fail, too."""
    tests = {asked.name: asked for asked in asking.tests}
    return [
        _updated(
            gate,
            replace(asked.test, min_units=min(asked.test.min_units, units)),
            [Block((scores.shadow_score(asked, e),), ()) for e in episodes],
        )
        if (asked := tests.get(gate.name)) and episodes
        else gate
        for gate in gates
    ]


def reviewed(gates: Sequence[GateStatus], asking: Asking, blocks: Sequence[Block]) -> list[GateStatus]:
    """The gates on what people say, after these answers."""
    tests = {asked.name: asked for asked in asking.tests if asked.gate.metric == "humanApproval"}
    return [_updated(gate, tests[gate.name].test, blocks) if gate.name in tests and blocks else gate for gate in gates]


def _updated(gate: GateStatus, test: judge.Test, blocks: Sequence[Block]) -> GateStatus:
    state = judge.update(test, gate.state, blocks)
    found = judge.judge(test, state)
    ends = [decimal(x) for x in found.interval] if found.interval else []
    return gate.model_copy(
        update={
            "state": state,
            "verdict": found.verdict,
            "message": bounded(found.message),
            "stable": decimal(found.stable),
            "candidate": decimal(found.candidate),
            "interval": [x for x in ends if x is not None] if None not in ends else [],
            "units": found.units,
            "expected": found.expected,
        }
    )


def failed(gates: Iterable[GateStatus]) -> GateStatus | None:
    """The first gate that failed."""
    return next((g for g in gates if g.verdict == "Fail"), None)


def proved(gates: Iterable[GateStatus]) -> bool:
    """Whether all that must be proved is."""
    return all(g.verdict == "Pass" for g in gates if g.role == "Prove")


def undecided(gates: Iterable[GateStatus]) -> list[GateStatus]:
    """What promotion still waits for."""
    return [g for g in gates if g.role == "Prove" and g.verdict != "Pass"]


def last_words(gates: Iterable[GateStatus]) -> list[GateVerdict]:
    """The gates as history has them."""
    return [GateVerdict(name=g.name, verdict=g.verdict, message=g.message) for g in gates]


def closed(gates: Iterable[GateStatus], *, inconclusive: bool = False) -> list[GateStatus]:
    """The gates after the rollout: without their states."""
    return [
        g.model_copy(
            update={"state": "", "verdict": "Inconclusive" if inconclusive and g.verdict == "Continue" else g.verdict}
        )
        for g in gates
    ]


def decimal(value: float | None) -> Decimal | None:
    """A number as the API has it; None where it has no end, or is none."""
    if value is None or not math.isfinite(value) or abs(value) >= 1e15:
        return None
    return Decimal(f"{value:.6f}")
