"""From gates as people write them to tests with numbers: for those who judge by them, and for those who plan with them.

A gate is taken by its shape (`Gate`), so that whoever has such an object can ask: the API's are of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, Literal, Protocol, TypeVar

from checkrein.judge.bounded_mean import spent_alpha
from checkrein.judge.question import Test

RATES = frozenset({"errors", "slowDecisions", "shielded"})
"""Metrics that are shares of decisions."""
REFERENCE = "-reference"
NAME_LIMIT = 40
Bounds = tuple[float, float]


class Gate(Protocol):
    """As `spec.strategy.canary.gates` has it. `margin`: `of` and `value`; `clip`: `min` and `max`."""

    @property
    def name(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def role(self) -> Literal["Prove", "Guard"]: ...
    @property
    def test(self) -> Literal["NonInferior", "Superior", "NotAbove"]: ...
    @property
    def margin(self) -> Any: ...
    @property
    def limit(self) -> Decimal | None: ...
    @property
    def maximum(self) -> Decimal | None: ...
    @property
    def variance(self) -> Decimal | None: ...
    @property
    def clip(self) -> Any: ...
    @property
    def guarantee(self) -> str: ...
    @property
    def alpha(self) -> Decimal: ...


G = TypeVar("G", bound=Gate)


@dataclass(frozen=True)
class Asked(Generic[G]):
    """One test of a gate. `name`: the gate's, and whom it compares with if not with stable."""

    name: str
    gate: G
    test: Test

    @property
    def shadowed(self) -> bool:
        """Whether it is asked of the candidate's shadow as well."""
        return _is_shadowed(self.gate)


def tests(
    gates: Sequence[G], min_units: int, bounds: Bounds | None, constant: float | None, attempt: int
) -> tuple[Asked[G], ...]:
    """Every gate at this try of a candidate; behind a proving gate on the return its test against the reference.

    `bounds`: of an episode's return. `constant`: the reference's mean return, where one is named.
    """
    proving = [g for g in gates if constant is not None and g.metric == "return" and g.role == "Prove"]
    parts = len(gates) + len(proving) + sum(map(_is_shadowed, gates))  # each may fail once
    asked: list[Asked[G]] = []
    for gate in gates:
        asked.append(Asked(gate.name, gate, _test(gate, min_units, bounds, None, attempt, parts)))
        if gate in proving:
            name = f"{gate.name[: NAME_LIMIT - len(REFERENCE)]}{REFERENCE}"
            asked.append(Asked(name, gate, _test(gate, min_units, bounds, constant, attempt, parts)))
    return tuple(asked)


def needs_bounds(gate: Gate) -> bool:
    """Whether it cannot be asked unless the return has bounds."""
    without = gate.clip is not None or gate.variance is not None or gate.guarantee == "Asymptotic"
    return gate.metric == "offPolicy" or (gate.metric == "return" and not without)


def _is_shadowed(gate: Gate) -> bool:
    return gate.role == "Guard" and gate.metric in RATES


def _test(gate: Gate, min_units: int, bounds: Bounds | None, constant: float | None, attempt: int, parts: int) -> Test:
    alpha = spent_alpha(float(gate.alpha), attempt)
    low, high = _range(gate, bounds)
    return Test(
        test=gate.test,
        role=gate.role,
        alpha_pass=alpha,
        alpha_fail=alpha / parts,
        min_units=min_units,
        low=low,
        high=high,
        margin_of=gate.margin.of if gate.margin else "Absolute",
        margin=float(gate.margin.value) if gate.margin else 0.0,
        limit=_float(gate.limit),
        maximum=_float(gate.maximum),
        variance=_float(gate.variance),
        clip=(float(gate.clip.min), float(gate.clip.max)) if gate.clip else None,
        asymptotic=gate.guarantee == "Asymptotic",
        constant=constant,
    )


def _range(gate: Gate, bounds: Bounds | None) -> tuple[float | None, float | None]:
    """Of one unit's score."""
    match gate.metric:
        case "return" | "offPolicy":
            free = gate.variance is not None or gate.guarantee == "Asymptotic"
            return (None, None) if free or bounds is None else bounds
        case "cost":
            return 0.0, _float(gate.maximum)
        case _:
            return 0.0, 1.0


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
