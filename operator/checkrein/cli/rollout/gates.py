"""Gates of a strategy as the numbers that `judge` takes, for planning. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from checkrein.api.strategy import Gate, Strategy
from checkrein.judge.bounded_mean import spent_alpha
from checkrein.judge.canary import Test

Bounds = tuple[float, float]


@dataclass(frozen=True)
class Asked:
    """One question to the evidence. `label`: the gate's name, and whom it compares with if not with stable."""

    label: str
    gate: Gate
    test: Test


def asked(strategy: Strategy, bounds: Bounds | None, attempt: int, reference: tuple[str, float] | None) -> list[Asked]:
    """Every gate at this try of the candidate; proving gates on the return against the reference's mean, too."""
    return list(_asked(strategy, bounds, attempt, reference))


def _asked(
    strategy: Strategy, bounds: Bounds | None, attempt: int, reference: tuple[str, float] | None
) -> Iterator[Asked]:
    gates = strategy.canary.gates if strategy.canary else []
    again = [g for g in gates if reference and g.role == "Prove" and g.metric == "return"]
    count = len(gates) + len(again)
    for gate in gates:
        yield Asked(gate.name, gate, _test(gate, strategy, bounds, attempt, count))
    for gate in again:
        mean = reference[1] if reference else None
        yield Asked(f"{gate.name}-reference", gate, _test(gate, strategy, bounds, attempt, count, mean))


def _test(
    gate: Gate, strategy: Strategy, bounds: Bounds | None, attempt: int, count: int, constant: float | None = None
) -> Test:
    alpha = spent_alpha(float(gate.alpha), attempt)
    low, high = _bounds(gate, bounds)
    return Test(
        test=gate.test,
        role=gate.role,
        alpha_pass=alpha,
        alpha_fail=alpha / count,
        min_units=strategy.canary.min_units if strategy.canary else 10,
        low=low,
        high=high,
        margin_of=gate.margin.of if gate.margin else "Absolute",
        margin=float(gate.margin.value) if gate.margin else 0.0,
        limit=None if gate.limit is None else float(gate.limit),
        maximum=None if gate.maximum is None else float(gate.maximum),
        variance=None if gate.variance is None else float(gate.variance),
        clip=(float(gate.clip.min), float(gate.clip.max)) if gate.clip else None,
        asymptotic=gate.guarantee == "Asymptotic",
        constant=constant,
    )


def _bounds(gate: Gate, bounds: Bounds | None) -> tuple[float | None, float | None]:
    """Of one unit's score."""
    match gate.metric:
        case "return" | "offPolicy":
            free = gate.variance is not None or gate.guarantee == "Asymptotic"
            return (None, None) if free or bounds is None else bounds
        case "cost":
            return 0.0, None
        case _:
            return 0.0, 1.0
