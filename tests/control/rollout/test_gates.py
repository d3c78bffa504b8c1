"""What spec.strategy asks becomes tests with numbers, or a sentence on why it cannot be asked."""

from __future__ import annotations

from typing import Any

import pytest
from tests.control import builders as b
from tests.control.rollout.life import ERRORS, RETURN, TWO, canary, strategy

from checkrein.api.evidence import ShadowPart
from checkrein.api.policy import PolicyVersion
from checkrein.control.rollout import asking as asks
from checkrein.control.rollout import scores
from checkrein.control.rollout.asking import Asking, Refusal
from checkrein.control.rollout.ledger import Episode
from checkrein.control.rollout.ready import Ready
from checkrein.judge.assignment import Unit
from checkrein.judge.bounded_mean import spent_alpha

VERSIONS = {n: b.version(n, letter=n[-1]) for n in ("cartpole-1", "cartpole-2")}
COST = {"name": "cost", "metric": "cost", "test": "NotAbove", "limit": "25"}
SLOW = {"name": "slow", "metric": "slowDecisions", "above": "5ms", "test": "NotAbove", "limit": "0.01"}


def ask(
    *listed: dict[str, Any],
    bounds: dict[str, str] | None = b.BOUNDS,
    environments: dict[str, Any] | None = None,
    versions: dict[str, PolicyVersion] | None = None,
    attempt: int = 1,
    **fields: Any,
) -> Asking | Refusal:
    agent = b.agent("cartpole-2", spec=strategy(canary=canary(gates=listed or (RETURN, ERRORS)), **fields))
    known = {"cartpole": b.ready_environment(bounds=bounds)} if environments is None else environments
    return asks.asking(agent, VERSIONS[TWO.name], versions or VERSIONS, known, attempt)


def asked(*listed: dict[str, Any], **fields: Any) -> Asking:
    asking = ask(*listed, **fields)
    assert isinstance(asking, Asking), asking
    return asking


@pytest.mark.parametrize(
    ("asking", "reason", "words"),
    [
        pytest.param(ask(environments={}), "EnvironmentNotFound", "RLEnvironment cartpole", id="no environment"),
        pytest.param(
            ask(environments={"cartpole": b.ready_environment(digest_=b.digest("f"))}),
            "EnvironmentChanged",
            "is not the one that cartpole-2 was trained for",
            id="another environment of that name",
        ),
        pytest.param(ask(bounds=None), "GateCannotBeShown", "has no spec.reward.bounds; set them", id="no bounds"),
        pytest.param(
            ask(bounds={"min": "-500", "max": "0"}),
            "GateCannotBeShown",
            "so a margin of StableMean would flip its sign",
            id="a share of a mean that may be negative",
        ),
        pytest.param(ask(reference="cartpole-9"), "ReferenceNotFound", "spec.strategy.reference", id="no reference"),
        pytest.param(
            ask(
                reference="cartpole-1",
                versions={
                    **VERSIONS,
                    "cartpole-1": VERSIONS["cartpole-1"].model_copy(
                        update={
                            "spec": VERSIONS["cartpole-1"].spec.model_copy(
                                update={
                                    "evaluation": VERSIONS["cartpole-1"].spec.evaluation.model_copy(
                                        update={"episodes": 0}
                                    )
                                }
                            )
                        }
                    ),
                },
            ),
            "ReferenceNotEvaluated",
            "name one that was",
            id="a reference that was not evaluated",
        ),
    ],
)
def test_refused_before_anybody_meets_it(asking: Any, reason: str, words: str) -> None:
    assert isinstance(asking, Refusal)
    assert asking.reason == reason
    assert words in asking.message


@pytest.mark.parametrize(
    "gate",
    [
        pytest.param({**RETURN, "clip": {"min": "0", "max": "500"}}, id="clipped"),
        pytest.param({**RETURN, "margin": {"of": "Absolute", "value": "9"}, "variance": "100"}, id="its variance"),
        pytest.param(
            {**RETURN, "margin": {"of": "Absolute", "value": "9"}, "guarantee": "Asymptotic"}, id="asymptotic"
        ),
    ],
)
def test_without_bounds_a_gate_needs_something_else(gate: dict[str, Any]) -> None:
    assert len(asked(gate, environments={}).tests) == 1


def test_alpha() -> None:
    """Each that must pass keeps the whole, failing is split over all that may fail; tries spend less and less."""
    [proving, guarding] = asked().tests
    assert proving.test.alpha_pass == pytest.approx(spent_alpha(0.05, 1))
    assert proving.test.alpha_fail == pytest.approx(spent_alpha(0.05, 1) / 3)  # the guard may fail in the shadow, too
    assert guarding.shadowed
    assert asked(attempt=3).tests[0].test.alpha_pass == pytest.approx(spent_alpha(0.05, 3))


def test_a_reference_is_one_more_test_for_each_return_that_must_be_proved() -> None:
    tests = asked(RETURN, COST, reference="cartpole-1").tests
    assert [(t.name, t.test.constant) for t in tests] == [("return", None), ("return-reference", 498.0), ("cost", None)]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"listed": [{**RETURN, "alpha": "0.01"}]}, id="a gate"),
        pytest.param({"listed": [RETURN, ERRORS, COST]}, id="one more gate"),
        pytest.param({"unit": "Client", "window": "1h"}, id="the design"),
        pytest.param({"outcomeDeadline": "5m"}, id="what outcomes are waited for"),
        pytest.param({"bounds": {"min": "0", "max": "400"}}, id="the bounds"),
        pytest.param({"reference": "cartpole-1"}, id="the reference"),
    ],
)
def test_evidence_belongs_to_one_way_of_asking(change: dict[str, Any]) -> None:
    listed = change.pop("listed", [])
    assert asked(*listed, **change).digest != asked().digest


def test_weights_are_no_part_of_what_is_asked() -> None:
    other = canary({"weight": 10, "units": 3}, gates=[RETURN, ERRORS])
    agent = b.agent("cartpole-2", spec={"strategy": {"canary": other, "shadow": {"units": 3}}})
    asking = asks.asking(agent, VERSIONS[TWO.name], VERSIONS, {"cartpole": b.ready_environment()}, 1)
    assert isinstance(asking, Asking)
    assert asking.digest == asked().digest


# --- scores


def episode(**fields: Any) -> Episode:
    known = {
        "id": "e",
        "unit": Unit("episode", "r", "a"),
        "arm": "candidate",
        "started": 0.0,
        "finished": True,
        "known": True,
        "worst": False,
        "complete": True,
        "reward": 9.0,
        "cost": 4.0,
        "decided": 10,
        "failed": 1,
        "shielded": 2,
        "slow": {"5ms": 3},
    }
    return Episode(**{**known, **fields})


BELOW = {**RETURN, "subgroup": {"name": "steep", "when": "observation[0] > 0.0"}}


@pytest.mark.parametrize(
    ("gate", "unit", "expected"),
    [
        pytest.param(RETURN, [episode()], 9.0, id="return"),
        pytest.param(RETURN, [episode(), episode(reward=11.0)], 10.0, id="a unit of two episodes -> their mean"),
        pytest.param(RETURN, [episode(worst=True)], 0.0, id="the worst return is the least possible"),
        pytest.param(
            {**RETURN, "clip": {"min": "5", "max": "50"}}, [episode(worst=True)], 5.0, id="or what is clipped to"
        ),
        pytest.param(RETURN, [episode(complete=False)], None, id="no reward was told -> unknown"),
        pytest.param(RETURN, [episode(reward=float("nan"))], None, id="no number -> unknown"),
        pytest.param(RETURN, [episode(), episode(known=False)], None, id="one of two is unknown -> unknown"),
        pytest.param(RETURN, None, None, id="never reported -> unknown"),
        pytest.param(COST, [episode()], 4.0, id="cost"),
        pytest.param(COST, [episode(cost=-1.0)], 0.0, id="cost is never below zero"),
        pytest.param({**COST, "maximum": "100"}, [episode(worst=True)], 100.0, id="the worst cost is the maximum"),
        pytest.param(COST, [episode(worst=True)], 4.0, id="or what is known of it"),
        pytest.param(ERRORS, [episode()], 0.1, id="errors"),
        pytest.param(ERRORS, [episode(decided=0)], 1.0, id="the first decision was not given -> all errors"),
        pytest.param(ERRORS, [episode(decided=0, failed=0)], None, id="nothing was decided -> unknown"),
        pytest.param({**ERRORS, "metric": "shielded"}, [episode()], 0.2, id="shielded"),
        pytest.param(SLOW, [episode()], 0.3, id="slow decisions"),
        pytest.param(
            BELOW, [episode(), episode(groups=frozenset({"steep"}), reward=1.0)], 1.0, id="of a subgroup, its own"
        ),
    ],
)
def test_scores(gate: dict[str, Any], unit: list[Episode] | None, expected: float | None) -> None:
    [test] = asked(gate).tests
    assert scores.score(test, unit, "candidate") == (None if expected is None else pytest.approx(expected))


def test_a_unit_outside_a_subgroup_is_in_the_block_and_not_in_the_group() -> None:
    [test] = asked(BELOW).tests
    inside, outside = [episode(groups=frozenset({"steep"}))], [episode()]
    block = scores.block(test, Ready((inside, outside, None), (outside,)))
    assert (block.candidate_in, block.stable_in) == ((True, False, True), (False,))


@pytest.mark.parametrize(
    ("gate", "shadow", "expected"),
    [
        pytest.param(ERRORS, ShadowPart(compared=6, failed=3, invalid=1), 0.4, id="an invalid action is a failure"),
        pytest.param(SLOW, ShadowPart(compared=10, slow={"5ms": 1}), 0.1, id="slow"),
        pytest.param({**ERRORS, "metric": "shielded"}, ShadowPart(compared=10, shielded=5), 0.5, id="shielded"),
        pytest.param(ERRORS, ShadowPart(dropped=10), None, id="it was never asked -> unknown"),
    ],
)
def test_scores_of_a_shadow(gate: dict[str, Any], shadow: ShadowPart, expected: float | None) -> None:
    [test] = asked(gate).tests
    assert scores.shadow_score(test, episode(shadow=shadow)) == expected
