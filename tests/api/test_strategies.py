"""What a real API server makes of good and bad strategies, gates, and words to a rollout."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.objects import MISSING, agent, changed, gate, proving, words
from tests.api.server import Refused, Server

pytestmark = pytest.mark.controlplane
Raw = dict[str, Any]

STEPS, GATES = "spec.strategy.canary.steps", "spec.strategy.canary.gates"
SHADOW: Raw = {"shadow": {"units": 5}}


def gated(*gates: Raw) -> Raw:
    """An AgentDeployment with these gates."""
    return changed(agent(), GATES, list(gates))


@pytest.mark.parametrize(
    "obj",
    [
        pytest.param(changed(agent(), "spec.strategy", SHADOW), id="a shadow alone"),
        pytest.param(changed(agent(), "spec.strategy", {"watch": {}}), id="a watch alone"),
        pytest.param(changed(agent(), "spec.strategy", {"unit": "Window", "window": "1m"} | SHADOW), id="a switchback"),
        pytest.param(changed(agent(), "spec.strategy.shadow.share", "0.000001"), id="a small share"),
        pytest.param(changed(agent(), STEPS, [{"weight": 99, "pause": {}}]), id="a step that waits for a person"),
        pytest.param(gated(proving("return", margin={"of": "Absolute", "value": "25"})), id="a margin in returns"),
        pytest.param(gated(proving("return", test="Superior", margin={"of": "Range", "value": "0"})), id="better"),
        pytest.param(gated(gate("slow", "slowDecisions", above="500us", limit="0")), id="no slow decision at all"),
        pytest.param(gated(gate("cost", "cost", limit="25")), id="a cost that is only guarded"),
        pytest.param(gated(*(gate(f"g{i}", "errors") for i in range(16))), id="sixteen gates"),
        pytest.param(changed(agent(), "spec.rollout", words()), id="every word to a rollout"),
        pytest.param(
            changed(agent(), "spec.rollout.approve", {"policyVersion": "a-1", "full": True, "by": "ops"}),
            id="a whole approval",
        ),
        pytest.param(
            changed(agent(), "spec.rollout.approve", {"policyVersion": "a-1", "step": 0, "by": "ops"}),
            id="the shadow's approval",
        ),
        pytest.param(changed(agent(), "spec.rollout.abort", {"policyVersion": "a-1"}), id="an abort in a hurry"),
    ],
)
def test_good_objects_are_accepted(server: Server, obj: Raw) -> None:
    server.create(obj, dry_run=True)


# The field that is changed, its value, the field that is named, and what the message must say beside it.
BAD_STRATEGIES = [
    pytest.param("", {}, ".canary", "set shadow, canary or watch", id="a strategy of nothing"),
    pytest.param(".unit", "Caller", ".unit", "supported values", id="an unknown unit"),
    pytest.param(".unit", "Episode", ".window", "goes with the units Client and Window", id="a window for episodes"),
    pytest.param(".window", MISSING, ".window", "they need one", id="clients without a window"),
    pytest.param(".window", "9s", ".window", "between 10s and 168h", id="a short window"),
    pytest.param(".window", "169h", ".window", "between 10s and 168h", id="a long window"),
    pytest.param(".outcomeDeadline", "169h", ".outcomeDeadline", "at most 168h", id="outcomes after weeks"),
    pytest.param(".outcomeDeadline", "late", ".outcomeDeadline", "should match", id="outcomes some time"),
    pytest.param(".shadow", {}, ".shadow.units", "Required value", id="a shadow of no length"),
    pytest.param(".shadow.units", 0, ".shadow.units", "greater than or equal to 1", id="a shadow of nobody"),
    pytest.param(".shadow.units", 10**7, ".shadow.units", "less than or equal to 1000000", id="a shadow for ever"),
    pytest.param(".shadow.share", "0", ".shadow.share", "share must be above 0", id="a share of nothing"),
    pytest.param(".shadow.share", "1.1", ".shadow.share", "at most 1", id="more than all"),
    pytest.param(".shadow.share", 0.5, ".shadow.share", "must be of type string", id="a float for a share"),
    pytest.param(".canary.steps", [], ".canary.steps", "at least 1 items", id="no steps"),
    pytest.param(".canary.steps", [{"weight": 5, "units": 1}] * 17, ".canary.steps", "at most 16", id="many steps"),
    pytest.param(".canary.steps.0.weight", 0, ".canary.steps[0].weight", "to 1", id="a weight of nothing"),
    pytest.param(".canary.steps.0.weight", 100, ".canary.steps[0].weight", "to 99", id="no stable to compare with"),
    pytest.param(
        ".canary.steps.0", {"weight": 5}, ".canary.steps[0].units", "units, a pause or both", id="an idle step"
    ),
    pytest.param(".canary.steps.0.concurrent", 0, ".canary.steps[0].concurrent", "to 1", id="no episode at once"),
    pytest.param(
        ".canary.steps.1.pause.duration", "0s", ".canary.steps[1].pause.duration", "above zero", id="a pause of no time"
    ),
    pytest.param(".canary.gates", MISSING, ".canary.gates", "Required value", id="a canary without gates"),
    pytest.param(".canary.gates", [], ".canary.gates", "at least 1 items", id="a canary with no gate"),
    pytest.param(
        ".canary.gates", [gate(f"g{i}", "errors") for i in range(17)], ".canary.gates", "at most 16", id="many gates"
    ),
    pytest.param(".canary.gates.1.name", "return", ".canary.gates[1]", "Duplicate value", id="two gates of one name"),
    pytest.param(".canary.minUnits", 0, ".canary.minUnits", "greater than or equal to 1", id="failing on nothing"),
    pytest.param(".canary.maxDuration", "0s", ".canary.maxDuration", "above zero", id="no time to decide"),
    pytest.param(".reference", "Cart 1", ".reference", "should match", id="a reference that cannot be"),
    pytest.param(".canary", MISSING, ".reference", "reference goes with canary", id="a reference for nobody"),
    pytest.param(".watch.drop", "0", ".watch.drop", "above 0 and below 1", id="a breach at once"),
    pytest.param(".watch.drop", "1", ".watch.drop", "above 0 and below 1", id="a breach never"),
    pytest.param(".watch.alpha", "0.6", ".watch.alpha", "between 0.000001 and 0.5", id="a nervous watch"),
    pytest.param(".watch.errors", "1", ".watch.errors", "above 0 and below 1", id="errors that cannot rise so far"),
    pytest.param(
        ".watch.cost",
        {"rise": "5", "maximum": "5"},
        ".watch.cost.rise",
        "below maximum",
        id="a cost beyond its maximum",
    ),
    pytest.param(".watch.onBreach", "Stop", ".watch.onBreach", "supported values", id="an unknown consequence"),
]
BAD_GATES = [
    pytest.param(gate("g", "reward"), "metric", "supported values", id="an unknown metric"),
    pytest.param(gate("G 1", "errors"), "name", "should match", id="a name of two words"),
    pytest.param(gate("g", "errors", role="Hope"), "role", "supported values", id="an unknown role"),
    pytest.param(gate("g", "errors", limit=""), "limit", "limit goes with NotAbove", id="not above what"),
    pytest.param(gate("g", "errors", limit=0.01), "limit", "must be of type string", id="a float for a limit"),
    pytest.param(gate("g", "errors", limit="-0.1"), "limit", "at least 0", id="fewer than no errors"),
    pytest.param(gate("g", "errors", limit="1"), "limit", "below 1", id="all may fail"),
    pytest.param(gate("g", "errors", above="5ms"), "above", "goes with metric slowDecisions", id="slow errors"),
    pytest.param(gate("g", "slowDecisions"), "above", "it needs one", id="slower than what"),
    pytest.param(gate("g", "slowDecisions", above="0ms"), "above", "should match", id="slower than at once"),
    pytest.param(gate("g", "slowDecisions", above="5m"), "above", "should match", id="minutes"),
    pytest.param(gate("g", "errors", alpha="0"), "alpha", "between 0.000001 and 0.5", id="it may never err"),
    pytest.param(gate("g", "errors", alpha="0.51"), "alpha", "between 0.000001 and 0.5", id="a coin is better"),
    pytest.param(gate("g", "errors", maximum="5"), "maximum", "goes with metric cost", id="a maximum of errors"),
    pytest.param(gate("g", "cost", limit="25", maximum="25"), "maximum", "above limit", id="a limit out of reach"),
    pytest.param(gate("g", "cost", limit="25", role="Prove"), "maximum", "takes its maximum", id="proof without one"),
    pytest.param(gate("g", "return"), "test", "tested as NonInferior or Superior", id="a return that is not above"),
    pytest.param(proving("g", "errors"), "test", "tested as NotAbove", id="a share that is not inferior"),
    pytest.param(proving("g", margin=""), "margin", "they need one", id="no margin"),
    pytest.param(proving("g", margin={"of": "Stable", "value": "0"}), "margin.of", "supported values", id="of whom"),
    pytest.param(proving("g", margin={"of": "Range"}), "margin.value", "Required value", id="a margin of what"),
    pytest.param(proving("g", margin={"of": "Range", "value": "-1"}), "margin", "at least 0", id="less than no margin"),
    pytest.param(proving("g", margin={"of": "Range", "value": "1"}), "margin", "a share, below 1", id="all the range"),
    pytest.param(proving("g", limit="1"), "limit", "limit goes with NotAbove", id="a limit beside a margin"),
    pytest.param(
        proving("g", "offPolicy", variance="1"), "variance", "goes with metric return", id="a foreign variance"
    ),
    pytest.param(proving("g", variance="0"), "variance", "above 0", id="no variance at all"),
    pytest.param(proving("g", clip={"min": "1", "max": "1"}), "clip", "min must be below its max", id="an empty clip"),
    pytest.param(proving("g", clip={"min": "1"}), "clip.max", "Required value", id="half a clip"),
    pytest.param(
        proving("g", clip={"min": "0", "max": "1"}, variance="1"), "clip", "clip or variance, not both", id="both ways"
    ),
    pytest.param(
        proving("g", guarantee="Asymptotic", variance="1"), "guarantee", "without clip and variance", id="a third way"
    ),
    pytest.param(
        gate("g", "errors", guarantee="Asymptotic"), "guarantee", "with metric return", id="roughly no errors"
    ),
    pytest.param(proving("g", "humanApproval"), "test", "a margin of Absolute", id="a share of people"),
    pytest.param(
        proving("g", "humanApproval", margin=""), "test", "a margin of Absolute", id="people without a margin"
    ),
    pytest.param(proving("g", "humanApproval", "Absolute", role="Guard"), "test", "is proved", id="people as guards"),
    pytest.param(
        proving("g", "offPolicy", subgroup={"name": "a", "when": "true"}),
        "subgroup",
        "not told by subgroup",
        id="a part",
    ),
    pytest.param(gate("g", "errors", subgroup={"name": "a"}), "subgroup.when", "Required value", id="a group of whom"),
    pytest.param(
        gate("g", "errors", subgroup={"name": "a", "when": "x" * 1025}), "subgroup.when", "Too long", id="a long story"
    ),
]
BAD_WORDS = [
    pytest.param("approve.policyVersion", MISSING, "Required value", id="an approval of what"),
    pytest.param("approve.by", MISSING, "Required value", id="an approval by nobody"),
    pytest.param("approve.by", "", "at least 1 char", id="an approval by an empty name"),
    pytest.param("approve.full", True, "either step or full", id="a step and all"),
    pytest.param("approve.full", False, "supported values", id="not all"),
    pytest.param("approve.step", MISSING, "either step or full", id="neither a step nor all"),
    pytest.param("approve.step", 17, "less than or equal to 16", id="a step that cannot be"),
    pytest.param("approve.step", -1, "greater than or equal to 0", id="a step before the first"),
    pytest.param("abort.policyVersion", MISSING, "Required value", id="an abort of what"),
    pytest.param("abort.reason", "x" * 257, "Too long", id="a long reason"),
    pytest.param("retry.nonce", MISSING, "Required value", id="a retry without a nonce"),
    pytest.param("retry.nonce", "", "at least 1 char", id="a retry with an empty nonce"),
    pytest.param("retry.nonce", "x" * 64, "Too long", id="a retry with a long one"),
    pytest.param("reviews.0.answer", "Both", "supported values", id="an answer that is none"),
    pytest.param("reviews.0.by", MISSING, "Required value", id="an answer by nobody"),
    pytest.param("reviews.0.sample", "", "at least 1 char", id="an answer to nothing"),
    pytest.param(
        "reviews", [{"sample": "1", "answer": "Left", "by": "a"}] * 2, "Duplicate value", id="two answers to one pair"
    ),
    pytest.param(
        "reviews", [{"sample": f"{i}", "answer": "Left", "by": "a"} for i in range(257)], "at most 256", id="many"
    ),
    pytest.param("paused", "yes", "must be of type boolean", id="yes for true"),
]


def _refused(server: Server, obj: Raw, field: str, says: str) -> None:
    with pytest.raises(Refused) as refusal:
        server.create(obj, dry_run=True)
    assert field in refusal.value.message
    assert says in refusal.value.message


@pytest.mark.parametrize(("path", "value", "field", "says"), BAD_STRATEGIES)
def test_a_bad_strategy_is_refused_by_field(server: Server, path: str, value: Any, field: str, says: str) -> None:
    _refused(server, changed(agent(), f"spec.strategy{path}", value), f"spec.strategy{field}", says)


@pytest.mark.parametrize(("bad", "field", "says"), BAD_GATES)
def test_a_bad_gate_is_refused_by_field(server: Server, bad: Raw, field: str, says: str) -> None:
    _refused(server, gated(gate("errors", "errors"), bad), f"{GATES}[1].{field}", says)


@pytest.mark.parametrize(("path", "value", "says"), BAD_WORDS)
def test_a_bad_word_to_a_rollout_is_refused_by_field(server: Server, path: str, value: Any, says: str) -> None:
    said = changed({"spec": {"rollout": words()}}, f"spec.rollout.{path}", value)["spec"]["rollout"]
    _refused(server, changed(agent(), "spec.rollout", said), f"spec.rollout.{path.split('.')[0]}", says)


def test_an_unknown_approval_is_refused(server: Server) -> None:
    _refused(server, changed(agent(), "spec.approval", "Maybe"), "spec.approval", "supported values")
