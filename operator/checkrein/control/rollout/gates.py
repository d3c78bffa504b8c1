"""From what spec.strategy asks to tests with numbers; and what the tests say, as status."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from checkrein.api.deployment import AgentDeployment
from checkrein.api.digests import canonical_json, sha256
from checkrein.api.environment import RLEnvironment
from checkrein.api.meta import bounded
from checkrein.api.policy import PolicyVersion
from checkrein.api.rollout import GateStatus, GateVerdict
from checkrein.api.strategy import Canary, Gate, Strategy
from checkrein.control.rollout.ledger import Episode
from checkrein.control.rollout.ready import Episodes, Ready
from checkrein.judge import canary as judge
from checkrein.judge.blocks import Block, Score
from checkrein.judge.bounded_mean import spent_alpha

RATES = frozenset({"errors", "slowDecisions", "shielded"})
REFERENCE = "-reference"
REASON = "GateCannotBeShown"


@dataclass(frozen=True)
class Refusal:
    """Why a rollout may not even begin."""

    reason: str
    message: str


@dataclass(frozen=True)
class Asked:
    """One test. `shadowed`: it is asked of the candidate's shadow as well."""

    name: str
    gate: Gate
    test: judge.Test

    @property
    def slow(self) -> str:
        """Under which name replicas count the decisions that were too slow."""
        return str(self.gate.dump().get("above", ""))

    @property
    def shadowed(self) -> bool:
        return self.gate.role == "Guard" and self.gate.metric in RATES


@dataclass(frozen=True)
class Asking:
    """All tests of a rollout, in the spec's order, references behind their gates; and the digest they go by."""

    tests: tuple[Asked, ...] = ()
    digest: str = ""


Bounds = tuple[float, float] | None


def asking(
    agent: AgentDeployment,
    version: PolicyVersion,
    versions: Mapping[str, PolicyVersion],
    environments: Mapping[str, RLEnvironment],
    attempt: int,
) -> Asking | Refusal:
    """The tests of this try of a candidate, or why they cannot be asked."""
    strategy = agent.spec.strategy
    canary = strategy.canary if strategy else None
    if strategy is None or canary is None:
        return Asking(digest=_digest(strategy, None, None))
    bounds: Bounds = None
    if needs := next((g for g in canary.gates if _needs_bounds(g)), None):
        found = _bounds(version, environments, needs)
        if isinstance(found, Refusal):
            return found
        bounds = found
    constant = None
    if strategy.reference:
        known = _constant(strategy.reference, version, versions)
        if isinstance(known, Refusal):
            return known
        constant = known
    tests = _tests(canary, bounds, constant, attempt)
    for asked in tests:
        if asked.gate.metric != "offPolicy" and (why := judge.refuse(asked.test)):
            return Refusal(REASON, f"spec.strategy.canary.gates[{asked.name}]: {why}")
    return Asking(tests, _digest(strategy, bounds, constant))


def _needs_bounds(gate: Gate) -> bool:
    without = gate.clip is not None or gate.variance is not None or gate.guarantee == "Asymptotic"
    return gate.metric == "offPolicy" or (gate.metric == "return" and not without)


def _bounds(
    version: PolicyVersion, environments: Mapping[str, RLEnvironment], gate: Gate
) -> tuple[float, float] | Refusal:
    """Least and greatest return of the candidate's environment."""
    wanted, path = version.spec.environment, f"spec.strategy.canary.gates[{gate.name}]"
    environment = environments.get(wanted.name)
    if environment is None:
        return Refusal(
            "EnvironmentNotFound",
            f"{path}: needs spec.reward.bounds of RLEnvironment {wanted.name}, which is not in this namespace; "
            "create it again",
        )
    if environment.status.digest != wanted.digest:
        return Refusal(
            "EnvironmentChanged",
            f"{path}: RLEnvironment {wanted.name} is not the one that {version.metadata.name} was trained for "
            f"({wanted.digest}); create that one again",
        )
    if environment.spec.reward.bounds is None:
        return Refusal(
            REASON,
            f"{path}: RLEnvironment {wanted.name} has no spec.reward.bounds; set them, or give the gate a clip",
        )
    return float(environment.spec.reward.bounds.min), float(environment.spec.reward.bounds.max)


def _constant(name: str, version: PolicyVersion, versions: Mapping[str, PolicyVersion]) -> float | Refusal:
    """The reference's evaluated mean return."""
    reference = versions.get(name)
    if reference is None:
        return Refusal("ReferenceNotFound", f"spec.strategy.reference: no PolicyVersion {name!r} in this namespace")
    if reference.spec.evaluation.episodes == 0:
        return Refusal("ReferenceNotEvaluated", f"spec.strategy.reference: {name} was not evaluated; name one that was")
    if reference.spec.environment.digest != version.spec.environment.digest:
        return Refusal(
            "ReferenceNotComparable",
            f"spec.strategy.reference: {name} was evaluated on another environment than "
            f"{version.spec.environment.name}; name one that was evaluated on the same",
        )
    return float(reference.spec.evaluation.mean)


def _tests(canary: Canary, bounds: Bounds, constant: float | None, attempt: int) -> tuple[Asked, ...]:
    proving = [g for g in canary.gates if constant is not None and g.metric == "return" and g.role == "Prove"]
    shadowed = sum(g.role == "Guard" and g.metric in RATES for g in canary.gates)
    parts = len(canary.gates) + len(proving) + shadowed  # each may fail once
    tests: list[Asked] = []
    for gate in canary.gates:
        tests.append(Asked(gate.name, gate, _test(gate, canary, bounds, None, attempt, parts)))
        if gate in proving:
            name = f"{gate.name[: 40 - len(REFERENCE)]}{REFERENCE}"
            tests.append(Asked(name, gate, _test(gate, canary, bounds, constant, attempt, parts)))
    return tuple(tests)


def _test(gate: Gate, canary: Canary, bounds: Bounds, constant: float | None, attempt: int, parts: int) -> judge.Test:
    alpha = spent_alpha(float(gate.alpha), attempt)
    low, high = _range(gate, bounds)
    return judge.Test(
        test=gate.test,
        role=gate.role,
        alpha_pass=alpha,
        alpha_fail=alpha / parts,
        min_units=canary.min_units,
        low=low,
        high=high,
        margin_of=gate.margin.of if gate.margin else "Absolute",
        margin=float(gate.margin.value) if gate.margin else 0.0,
        limit=float(gate.limit) if gate.limit is not None else None,
        maximum=float(gate.maximum) if gate.maximum is not None else None,
        variance=float(gate.variance) if gate.variance is not None else None,
        clip=(float(gate.clip.min), float(gate.clip.max)) if gate.clip else None,
        asymptotic=gate.guarantee == "Asymptotic",
        constant=constant,
    )


def _range(gate: Gate, bounds: Bounds) -> tuple[float | None, float | None]:
    """Of one unit's score."""
    match gate.metric:
        case "return" | "offPolicy":
            free = gate.variance is not None or gate.guarantee == "Asymptotic"
            return (None, None) if free or bounds is None else bounds
        case "cost":
            return 0.0, float(gate.maximum) if gate.maximum is not None else None
        case _:
            return 0.0, 1.0


def _digest(strategy: Strategy | None, bounds: Bounds, constant: float | None) -> str:
    """Evidence belongs to one way of asking and of assigning: what else changes goes on."""
    if strategy is None or strategy.canary is None:
        return sha256(canonical_json([strategy.unit if strategy else ""]))
    canary = strategy.canary
    asked: list[Any] = [
        [gate.dump() for gate in canary.gates],
        canary.min_units,
        strategy.unit,
        strategy.window.total_seconds() if strategy.window else None,
        strategy.outcome_deadline.total_seconds(),
        bounds,
        constant,
    ]
    return sha256(canonical_json(asked))


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
        _updated(gate, asked.test, [block(asked, r) for r in ready])
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
            [Block((shadow_score(asked, e),), ()) for e in episodes],
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
            return _share(episode.slow.get(asked.slow, 0), episode.decided)
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
            return _share(seen.slow.get(asked.slow, 0), decisions)


def _share(part: int, whole: int) -> Score:
    return min(part / whole, 1.0) if whole else None


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
