"""`checkrein rollout plan`: what the gates of a new version will take, by stable's record, and what cannot be shown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from checkrein.api.deployment import AgentDeployment
from checkrein.api.environment import RLEnvironment
from checkrein.api.gates import Gate
from checkrein.api.policy import PolicyVersion
from checkrein.api.strategy import CanaryStep, Strategy
from checkrein.cli.errors import Refusal
from checkrein.cli.kube import Kube
from checkrein.cli.rollout import apply
from checkrein.cli.text import number, table
from checkrein.judge.asking import RATES, Asked, Bounds, tests
from checkrein.judge.canary import refuse
from checkrein.judge.planning import needed

COUNTED = RATES | {"cost"}


@dataclass(frozen=True)
class Record:
    """What is known of the stable version. `sd`: of an episode's return, or None; `at_most`: a bound, not a measure."""

    version: str
    episodes: int
    mean: float
    sd: float | None
    at_most: bool
    bounds: Bounds | None
    unbounded: str = ""
    """Why there are no bounds."""


@dataclass(frozen=True)
class Need:
    """What one gate takes. `units`: candidate units until it passes, if the candidate is as good as stable; None for
    guards, which are not waited for, and where `refused` says why it cannot be shown."""

    asked: Asked[Gate]
    units: int | None = None
    note: str = ""
    refused: str = ""


@dataclass(frozen=True)
class Outlook:
    """The whole rollout. `candidate`, `units`: of both arms together, steps included; None where a gate is refused."""

    record: Record
    attempt: int
    unit: str
    needs: tuple[Need, ...]
    shadowed: int
    candidate: int | None
    units: int | None
    refused: str = ""

    @property
    def possible(self) -> bool:
        """Can everything be shown?"""
        return not self.refused and not any(need.refused for need in self.needs)


def plan(kube: Kube, agent: AgentDeployment, version: str | None, available: int | None) -> Outlook:
    """For a new version, or for another try of the one named. Raises Refusal."""
    strategy = agent.spec.strategy
    if strategy is None or strategy.canary is None:
        raise Refusal(
            f"spec.strategy.canary of {agent.metadata.name} is not set: no gate is asked, there is nothing to plan"
        )
    if agent.status.stable is None:
        raise Refusal(f"no version is stable at {agent.metadata.name} yet: the first one acts after its own checks")
    stable = apply.version(kube, agent.status.stable.name)
    reference = _reference(kube, strategy.reference, stable)
    hoped = _hoped(kube, version, stable)
    return outlook(strategy, _record(kube, stable), _attempt(agent, version), reference, available, hoped)


def outlook(
    strategy: Strategy,
    record: Record,
    attempt: int,
    reference: tuple[str, float] | None,
    available: int | None = None,
    hoped: float | None = None,
) -> Outlook:
    """The arithmetic. `available`: how many units there will be, where somebody knows. `hoped`: the new version's mean
    return in its own evaluation, without which nothing can be said to be better than stable."""
    steps = strategy.canary.steps if strategy.canary else []
    asked = _asked(strategy, record.bounds, attempt, reference)
    needs = tuple(_need(a, record, steps, hoped) for a in asked)
    unit = strategy.unit.lower()
    candidate = units = None
    refused = ""
    if not any(need.refused for need in needs):
        most = max((n.units or 0 for n in needs if n.asked.gate.metric != "humanApproval"), default=0)
        candidate, units = exposure(steps, most)
        if available is not None and units > available:
            take = f"the gates take about {units}, {candidate} of them the candidate's"
            refused = f"{available} {unit}s cannot prove this: {take}"
    shadowed = math.ceil(strategy.shadow.units / float(strategy.shadow.share)) if strategy.shadow else 0
    return Outlook(record, attempt, unit, needs, shadowed, candidate, units, refused)


def exposure(steps: Sequence[CanaryStep], candidate: int) -> tuple[int, int]:
    """(candidate units, units of both arms) until at least so many candidate units are scored and all steps are over.

    The last step goes on at its weight until the gates have passed.
    """
    total, scored = 0.0, 0
    for step in steps:
        scored += step.units or 0
        total += (step.units or 0) * 100 / step.weight
    left = max(candidate - scored, 0)
    return scored + left, math.ceil(total + left * 100 / steps[-1].weight)


def _asked(
    strategy: Strategy, bounds: Bounds | None, attempt: int, reference: tuple[str, float] | None
) -> Sequence[Asked[Gate]]:
    canary = strategy.canary
    if canary is None:
        return ()
    return tests(canary.gates, canary.min_units, bounds, reference[1] if reference else None, attempt)


def _need(question: Asked[Gate], record: Record, steps: Sequence[CanaryStep], hoped: float | None) -> Need:
    gate = question.gate
    if refused := refuse(question.test):
        why = record.unbounded if gate.metric == "return" else ""
        return Need(question, refused="; ".join(filter(None, (refused, why))))
    if gate.role == "Guard":
        return Need(question, note="guards: stops on evidence, is not waited for")
    if gate.metric == "offPolicy":
        return Need(question, note="by logged exploration: checkrein audit offpolicy says what the log carries")
    mean, sd, note = _expectation(question, record)
    if sd is None:
        return Need(question, refused=f"how far stable's returns spread is not known: {record.unbounded}")
    # A pause without units may last for any number of them: it is not counted on.
    weights = [(step.weight, step.units or 0) for step in steps]
    like = hoped if gate.test == "Superior" and gate.metric == "return" else None
    units = needed(question.test, mean, sd, weights, candidate_mean=like)
    if units is None:
        who = "a candidate as good as stable" if like is None else f"a candidate with its evaluated mean {number(like)}"
        return Need(question, refused=f"{who} would not pass ({_asks(question)})")
    note = note if like is None else f"if it keeps its evaluated mean {number(like)}"
    return Need(question, units, note)


def _expectation(question: Asked[Gate], record: Record) -> tuple[float, float | None, str]:
    """(mean, standard deviation, assumption) of a candidate that is as good as stable."""
    gate = question.gate
    if gate.metric == "humanApproval":
        return 0.5, 0.5, "pairs, if people prefer neither"
    if gate.metric in COUNTED:
        return 0.0, 0.0, f"if no candidate unit has any {gate.metric}"
    group = f"in subgroup {gate.subgroup.name}" if gate.subgroup else ""
    return record.mean, record.sd, group


def _asks(question: Asked[Gate]) -> str:
    gate, alpha = question.gate, number(question.test.alpha_pass)
    if gate.margin:
        return f"{gate.test} with a margin of {number(gate.margin.value)} ({gate.margin.of}), alpha {alpha}"
    return f"{gate.test} {number(gate.limit)}, alpha {alpha}"


def _record(kube: Kube, version: PolicyVersion) -> Record:
    found, name = version.spec.evaluation, version.metadata.name
    bounds, unbounded = _bounds(kube, version)
    mean, sd = float(found.mean), getattr(found, "sd", None)  # releases to come keep the deviation
    if sd is not None:
        return Record(name, found.episodes, mean, float(sd), False, bounds, unbounded)
    # Bhatia and Davis (2000), "A better bound on the variance".
    bound = math.sqrt(max((bounds[1] - mean) * (mean - bounds[0]), 0.0)) if bounds else None
    return Record(name, found.episodes, mean, bound, True, bounds, unbounded)


def _bounds(kube: Kube, version: PolicyVersion) -> tuple[Bounds | None, str]:
    """An episode's bounds by the very environment that the version was made for; or None, and why."""
    identity = version.spec.environment
    raw = kube.get("RLEnvironment", identity.name)
    if raw is None:
        return None, f"there is no RLEnvironment {identity.name}"
    environment = RLEnvironment.model_validate(raw)
    if environment.status.digest != identity.digest:
        return None, f"RLEnvironment {identity.name} is not the one that {version.metadata.name} was made for"
    bounds = environment.spec.reward.bounds
    if bounds is None:
        return None, f"RLEnvironment {identity.name} has no spec.reward.bounds"
    return (float(bounds.min), float(bounds.max)), ""


def _reference(kube: Kube, name: str | None, stable: PolicyVersion) -> tuple[str, float] | None:
    """Name and evaluated mean return. Raises Refusal where it cannot be compared with."""
    if name is None:
        return None
    found = apply.version(kube, name)
    if found.spec.evaluation.episodes == 0:
        raise Refusal(f"spec.strategy.reference: {name} was not evaluated; name one that was")
    if found.spec.environment.digest != stable.spec.environment.digest:
        raise Refusal(f"spec.strategy.reference: {name} was evaluated on another environment than stable")
    return name, float(found.spec.evaluation.mean)


def _hoped(kube: Kube, name: str | None, stable: PolicyVersion) -> float | None:
    """The evaluated mean return of a version that may not exist yet."""
    raw = kube.get("PolicyVersion", name) if name else None
    found = PolicyVersion.model_validate(raw) if raw else None
    same = found is not None and found.spec.environment.digest == stable.spec.environment.digest
    return float(found.spec.evaluation.mean) if found is not None and same else None


def _attempt(agent: AgentDeployment, version: str | None) -> int:
    """Which try the next rollout of this version is: each one spends alpha."""
    status = agent.status
    if status.rollout and status.candidate and status.candidate.name == version:
        return status.rollout.attempt
    begun = [known.attempt for known in status.tries if known.name == version]
    failed = [known.attempt for known in status.rejected if known.name == version]
    return max([0, *begun, *failed]) + 1


def text(plan: Outlook, agent: AgentDeployment) -> str:
    """For people."""
    return "\n".join(_lines(plan, agent))


def _lines(plan: Outlook, agent: AgentDeployment) -> Iterator[str]:
    record = plan.record
    bound = "at most " if record.at_most else ""
    bounds = f", bounds [{number(record.bounds[0])}, {number(record.bounds[1])}]" if record.bounds else ", no bounds"
    yield (
        f"{record.version} has a mean return of {number(record.mean)} over {record.episodes} episodes, "
        f"standard deviation {bound}{number(record.sd)}{bounds}"
    )
    yield f"Try {plan.attempt} of the candidate; expected for one that is as good as stable:"
    yield ""
    header = ("GATE", "METRIC", "ROLE", f"CANDIDATE {plan.unit.upper()}S", "NOTE")
    rows = (
        (n.asked.name, n.asked.gate.metric, n.asked.gate.role, "-" if n.units is None else f"~{n.units}", n.note)
        for n in plan.needs
    )
    yield from table(header, rows)
    yield ""
    for need in plan.needs:
        if need.refused:
            yield f"gate {need.asked.name} cannot be shown: {need.refused}"
    if plan.candidate is not None:
        shadow = f"{plan.shadowed} {plan.unit}s for the shadow, then " if plan.shadowed else ""
        theirs = f"{plan.candidate} of them the candidate's"
        yield f"{shadow}about {plan.units} {plan.unit}s in all at the steps' weights, {theirs}"
    if plan.refused:
        yield plan.refused
    if agent.spec.approval == "Required":
        yield "a person approves at the end"


def document(plan: Outlook) -> dict[str, Any]:
    """For programs."""
    record = plan.record
    return {
        "possible": plan.possible,
        "stable": {
            "policyVersion": record.version,
            "episodes": record.episodes,
            "mean": record.mean,
            "standardDeviation": record.sd,
            "standardDeviationIsBound": record.at_most,
            "bounds": list(record.bounds) if record.bounds else None,
        },
        "attempt": plan.attempt,
        "unit": plan.unit,
        "gates": [
            {
                "name": need.asked.name,
                "metric": need.asked.gate.metric,
                "role": need.asked.gate.role,
                "candidateUnits": need.units,
                "note": need.note,
                "refused": need.refused,
            }
            for need in plan.needs
        ],
        "shadowed": plan.shadowed,
        "candidateUnits": plan.candidate,
        "units": plan.units,
        "refused": plan.refused,
    }
