"""No rule is broken by what is executed, whatever is proposed, observed or written into an expression."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from checkrein.api.environment import Safety
from checkrein.api.shield import ShieldRule
from checkrein.api.spaces import Interface, Space
from checkrein.shield.guard import Guard, Ruling, ShieldError

SEEN_SPACE = Space(type="Box", dtype="float32", shape=[2], low=["-inf"], high=["inf"])
NAMES = ["speed", "angle"]
SLOW, FAST = np.array([0.5, 0.0], np.float32), np.array([3.0, 0.0], np.float32)
DISCRETE = Space(type="Discrete", dtype="int64", n=4)
SHIFTED = Space(type="Discrete", dtype="int64", n=4, start=-2)
BOX = Space(type="Box", dtype="float32", shape=[2], low=["-1"], high=["1"])
DOUBLE = Space(type="Box", dtype="float64", shape=[2], low=["-1"], high=["1"])
SCALAR = Space(type="Box", dtype="float32", low=["-1"], high=["1"])
WHOLE = Space(type="Box", dtype="uint8", shape=[2], low=["0"], high=["255"])
MULTI = Space(type="MultiDiscrete", dtype="int64", nvec=[2, 3])
BINARY = Space(type="MultiBinary", dtype="int8", shape=[2])
SCORES = np.array([1.0, 4.0, 3.0, 2.0])


def rule(name: str = "r", **fields: Any) -> ShieldRule:
    return ShieldRule.model_validate({"name": name, **fields})


def clip(low: str, high: str, **fields: Any) -> ShieldRule:
    return rule(clip={"low": [low], "high": [high]}, **fields)


def guard(space: Space, *rules: ShieldRule, fallback: Any = None) -> Guard:
    interface = Interface(observation=SEEN_SPACE, action=space)
    return Guard(rules, interface, NAMES, None if fallback is None else np.asarray(fallback, float))


def ruled(
    made: Guard, action: Any, seen: Any = SLOW, previous: Any = None, scores: Any = None, step: int = 0
) -> tuple[Any, str | None, bool]:
    before = None if previous is None else np.asarray(previous)
    ruling = made.rule(seen, np.asarray(action), before, step, scores)
    return (None if ruling.action is None else ruling.action.tolist(), ruling.rule, ruling.terminate)


NO_BRAKING = rule("no-braking", when="features.speed > 2.0", forbid=[1])
STOP_WHEN_TILTED = rule("tilted", require="features.angle < 1.0", otherwise="Terminate")


@pytest.mark.parametrize(
    ("rules", "action", "seen", "scores", "expected"),
    [
        pytest.param([], 1, SLOW, None, (1, None, False), id="no rules"),
        pytest.param([rule(forbid=[0])], 1, SLOW, None, (1, None, False), id="an allowed action stays"),
        pytest.param([rule(forbid=[1])], 1, SLOW, SCORES, (2, "r", False), id="the best of the others replaces it"),
        pytest.param([rule(forbid=[1])], 1, SLOW, None, (3, "r", False), id="the fallback where nothing ranks them"),
        pytest.param([rule(forbid=[1, 3])], 1, SLOW, None, (0, "r", False), id="the least where that is forbidden too"),
        pytest.param([NO_BRAKING], 1, SLOW, SCORES, (1, None, False), id="a condition that is false"),
        pytest.param([NO_BRAKING], 1, FAST, SCORES, (2, "no-braking", False), id="a condition that is true"),
        pytest.param(
            [rule(require="action != 1 && action != 2")], 1, SLOW, SCORES, (3, "r", False), id="a requirement"
        ),
        pytest.param(
            [rule("a", forbid=[1]), rule("b", forbid=[2])],
            1,
            SLOW,
            SCORES,
            (3, "a", False),
            id="the first one is named",
        ),
        pytest.param(
            [rule("a", forbid=[2]), rule("b", forbid=[1])],
            1,
            SLOW,
            SCORES,
            (3, "b", False),
            id="the first that is broken",
        ),
        pytest.param(
            [rule("a", forbid=[0, 1]), rule("b", forbid=[2, 3])],
            1,
            SLOW,
            SCORES,
            (None, "a", False),
            id="nothing is left",
        ),
        pytest.param(
            [rule(forbid=[1], otherwise="Terminate")], 1, SLOW, SCORES, (None, "r", True), id="it ends the episode"
        ),
        pytest.param(
            [rule("a", forbid=[1]), rule("b", forbid=[1], otherwise="Terminate")],
            *(1, SLOW, SCORES, (2, "a", False)),
            id="a replaced action ends nothing",
        ),
        pytest.param(
            [STOP_WHEN_TILTED], 1, np.array([0, 2.0]), None, (None, "tilted", True), id="the observation ends it"
        ),
        pytest.param(
            [rule("a", forbid=[1]), STOP_WHEN_TILTED],
            *(1, np.array([0, 2.0]), SCORES, (None, "tilted", True)),
            id="the observation ends it after a replacement too",
        ),
        pytest.param([rule(require="previous == null")], 1, SLOW, None, (1, None, False), id="nothing was done before"),
        pytest.param([rule(require="features.speed / 0.0 < 1.0")], 1, SLOW, None, (None, "r", False), id="infinity"),
    ],
)
def test_discrete_actions(rules: Any, action: int, seen: Any, scores: Any, expected: Any) -> None:
    assert ruled(guard(DISCRETE, *rules, fallback=[3]), action, seen, scores=scores) == expected


def test_actions_are_named_as_the_space_names_them() -> None:
    made = guard(SHIFTED, rule(forbid=[-2]), fallback=[1])
    assert ruled(made, -2) == (1, "r", False)
    assert ruled(made, -2, scores=SCORES) == (-1, "r", False)
    assert made.index(np.array(-2)) == 0


@pytest.mark.parametrize("action", [4, -1, 0.5, math.nan, math.inf])
def test_what_is_no_action_is_not_executed(action: float) -> None:
    assert ruled(guard(DISCRETE, rule(forbid=[3])), action) == (None, None, False)


ONLY_LEFT = rule("only-left", require="action[0] <= 0.0")


@pytest.mark.parametrize(
    ("rules", "action", "previous", "expected"),
    [
        pytest.param([clip("-0.5", "0.5")], [0.75, -0.25], None, ([0.5, -0.25], "r", False), id="clipped"),
        pytest.param([clip("-0.5", "0.5")], [0.25, -0.5], None, ([0.25, -0.5], None, False), id="inside"),
        pytest.param(
            [rule(clip={"low": ["-1", "0"], "high": ["0", "1"]})],
            [0.5, -0.5],
            None,
            ([0, 0], "r", False),
            id="by element",
        ),
        pytest.param(
            [clip("-0.5", "0.5", otherwise="Terminate")],
            [0.75, 0],
            None,
            (None, "r", True),
            id="outside ends the episode",
        ),
        pytest.param(
            [rule(maxChange=["0.25"])], [0.75, -0.75], None, ([0.75, -0.75], None, False), id="the first is free"
        ),
        pytest.param(
            [rule(maxChange=["0.25"])], [0.75, -0.75], [0, 0], ([0.25, -0.25], "r", False), id="a step too far"
        ),
        pytest.param(
            [rule(maxChange=["0.25", "2"])], [0.75, -0.75], [0, 0], ([0.25, -0.75], "r", False), id="one element"
        ),
        pytest.param([rule(maxChange=["0"])], [0.75, 0], [0.5, 0], ([0.5, 0], "r", False), id="no change at all"),
        pytest.param(
            [clip("-0.5", "0.5"), rule("c", maxChange=["0.25"])],
            *([0.75, 0], [0, 0], ([0.25, 0], "r", False)),
            id="each sees what the one before made",
        ),
        pytest.param(
            [clip("-0.5", "0.5"), rule("c", maxChange=["0.25"])],
            *([0.75, 0], [1, 0], (None, "r", False)),
            id="bounds that do not meet let nothing through",
        ),
        pytest.param([ONLY_LEFT], [0.5, 0], None, ([-0.25, 0.5], "only-left", False), id="the fallback replaces it"),
        pytest.param(
            [ONLY_LEFT, clip("-0.125", "0.25")],
            [0.5, 0],
            None,
            ([-0.125, 0.25], "only-left", False),
            id="clipped as well",
        ),
        pytest.param([rule(require="action[0] > 2.0")], [0.5, 0], None, (None, "r", False), id="not even the fallback"),
        pytest.param([clip("-0.5", "0.5")], [math.nan, 0], None, ([-0.25, 0.5], "r", False), id="not a number"),
        pytest.param([clip("-0.5", "0.5")], [math.inf, -math.inf], None, ([0.5, -0.5], "r", False), id="infinite"),
        pytest.param(
            [rule(require="action.all(a, a < 0.5)")], [0.25, 0], None, ([0.25, 0], None, False), id="all elements"
        ),
    ],
)
@pytest.mark.parametrize("space", [pytest.param(BOX, id="float32"), pytest.param(DOUBLE, id="float64")])
def test_box_actions(space: Space, rules: Any, action: Any, previous: Any, expected: Any) -> None:
    made = guard(space, *rules, fallback=[-0.25, 0.5])
    assert ruled(made, np.array(action, space.dtype), previous=previous) == expected


def test_a_box_of_one_number_and_a_box_of_whole_numbers() -> None:
    assert ruled(guard(SCALAR, clip("-0.5", "0.5")), np.float32(0.75)) == (0.5, "r", False)
    assert ruled(guard(SCALAR, rule(maxChange=["0.5"])), np.float32(0.75), previous=0.0) == (0.5, "r", False)
    assert ruled(guard(SCALAR, rule(require="action < 0.5"), fallback=[0]), np.float32(0.75)) == (0.0, "r", False)
    change = guard(WHOLE, rule(maxChange=["10.5"]))
    assert ruled(change, np.array([255, 0], np.uint8), previous=np.array([250, 5], np.uint8)) == ([255, 0], None, False)
    assert ruled(change, np.array([0, 255], np.uint8), previous=np.array([250, 5], np.uint8)) == ([240, 15], "r", False)
    assert ruled(guard(WHOLE, clip("0.5", "9.5")), np.array([0, 99], np.uint8)) == ([1, 9], "r", False)


@pytest.mark.parametrize("space", [pytest.param(MULTI, id="multi-discrete"), pytest.param(BINARY, id="multi-binary")])
def test_products_fall_back_and_else_take_the_least_that_is_allowed(space: Space) -> None:
    wants = rule(require="action[0] + action[1] >= 1 && action[1] < 2")
    assert ruled(guard(space, wants, fallback=[1, 0]), [0, 0]) == ([1, 0], "r", False)
    assert ruled(guard(space, wants), [0, 0]) == ([0, 1], "r", False)
    assert ruled(guard(space, rule(require="action[0] > 1")), [0, 0]) == (None, "r", False)


def test_a_failing_expression_counts_against_the_action_and_is_counted() -> None:
    broken = guard(DISCRETE, rule("b", require="previous < action"))
    assert ruled(broken, 1, previous=0) == (1, None, False)
    assert ruled(broken, 1) == (None, "b", False)
    assert broken.errors["b"] > 0
    condition = guard(DISCRETE, rule("c", when="previous > 2", forbid=[1]))
    assert ruled(condition, 1, previous=0) == (1, None, False)
    assert ruled(condition, 1, previous=3) == (0, "c", False)
    assert ruled(condition, 1) == (0, "c", False), "a condition that fails counts as true"
    assert condition.errors == {"c": 1}


def test_the_action_before_may_come_flat_as_an_episode_carries_it() -> None:
    same = guard(DISCRETE, rule(require="action == previous"), fallback=[2])
    assert ruled(same, 2, previous=[2.0]) == (2, None, False)
    column = Space(type="Box", dtype="float32", shape=[2, 1], low=["-1"], high=["1"])
    change = guard(column, rule(maxChange=["0.5"]))
    assert ruled(change, np.array([[1], [1]], np.float32), previous=[0.0, 0.25]) == ([[0.5], [0.75]], "r", False)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"maxChange": ["1"]}, True, id="a change"),
        pytest.param({"require": "previous == null || action[0] > previous[0]"}, True, id="a requirement"),
        pytest.param({"when": "previous != null", "clip": {"low": ["0"], "high": ["1"]}}, True, id="a condition"),
        pytest.param({"require": "features.speed < 1.0"}, False, id="the observation alone"),
        pytest.param({"clip": {"low": ["0"], "high": ["1"]}}, False, id="the action alone"),
    ],
)
def test_it_says_whether_the_action_before_must_travel(fields: Any, expected: bool) -> None:
    assert guard(BOX, rule(**fields)).needs_previous is expected


@pytest.mark.parametrize(
    ("space", "fields", "words"),
    [
        pytest.param(
            BOX, {"forbid": [1]}, r"rule r: forbid needs Discrete actions, these are Box\(2\)", id="forbid a box"
        ),
        pytest.param(
            DISCRETE, {"forbid": [4]}, "forbid: 4 is no action; they go from 0 to 3", id="forbid what is none"
        ),
        pytest.param(DISCRETE, {"forbid": [0, 1, 2, 3]}, "leaves no action", id="forbid everything"),
        pytest.param(DISCRETE, {"clip": {"low": ["0"], "high": ["1"]}}, "clip needs Box", id="clip discrete actions"),
        pytest.param(BINARY, {"maxChange": ["1"]}, "maxChange needs Box", id="change of bits"),
        pytest.param(
            BOX, {"clip": {"low": ["0", "0", "0"], "high": ["1"]}}, "clip.low has 3 elements", id="too many bounds"
        ),
        pytest.param(
            BOX, {"clip": {"low": ["0.5"], "high": ["0.25"]}}, "element 0 no value", id="bounds the wrong way round"
        ),
        pytest.param(BOX, {"clip": {"low": ["2"], "high": ["3"]}}, "no value within", id="bounds beyond the space"),
        pytest.param(WHOLE, {"clip": {"low": ["0.2"], "high": ["0.8"]}}, "no value", id="no whole number between"),
        pytest.param(BOX, {"maxChange": ["-1"]}, "maxChange must not be below zero", id="negative change"),
        pytest.param(BOX, {"require": "features.sped < 1.0"}, "require: features has no 'sped'", id="unknown feature"),
        pytest.param(
            BOX, {"when": "action[0] > 0.0", "maxChange": ["1"]}, "when: action is unknown", id="when of an action"
        ),
        pytest.param(BOX, {"require": "action > 0.0"}, "neither true nor false of any", id="a list is no number"),
        pytest.param(BOX, {"require": "features.speed"}, "neither true nor false", id="no condition"),
    ],
)
def test_a_rule_that_cannot_be_kept_is_refused_when_it_is_loaded(space: Space, fields: Any, words: str) -> None:
    with pytest.raises(ShieldError, match=words):
        guard(space, rule(**fields))


def test_the_rules_in_the_docs_can_be_kept() -> None:
    text = (Path(__file__).parents[2] / "docs" / "shield.md").read_text()
    safety = Safety.model_validate(yaml.safe_load(text.split("```yaml")[1].split("```")[0])["safety"])
    seen = Space(type="Box", dtype="float32", shape=[4], low=["-inf"], high=["inf"])
    for one in safety.shield:
        action = DISCRETE if one.forbid else BOX
        Guard([one], Interface(observation=seen, action=action), safety.features, None)


@pytest.mark.parametrize("fallback", [pytest.param([4], id="no action"), pytest.param([0, 0], id="too long")])
def test_a_fallback_that_is_no_action_is_refused(fallback: Any) -> None:
    with pytest.raises(ShieldError, match=r"spec\.fallback\.action is not in"):
        guard(DISCRETE, rule(forbid=[1]), fallback=fallback)


# --- whatever the input

FORBID = st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True).map(lambda actions: {"forbid": actions})
NUMBERS = st.floats(width=32) | st.sampled_from([math.nan, math.inf, -math.inf])
CONDITIONS = st.sampled_from([None, "features.speed > 1.0", "previous != null && previous > 1", "previous > 1"])
REQUIREMENTS = st.sampled_from(
    [
        {"require": "features.speed < 2.0 || action == 0"},
        {"require": "previous == null || action != previous"},
        {"require": "action > step"},
        {"require": "previous < action"},
    ]
)
DISCRETE_RULES = st.lists(
    st.tuples(FORBID | REQUIREMENTS, CONDITIONS, st.sampled_from(["Replace", "Terminate"])), min_size=1, max_size=4
)
ORACLES = {  # what the expressions above say, in Python; None where they fail
    "features.speed > 1.0": lambda now: now["speed"] > 1,
    "previous != null && previous > 1": lambda now: now["previous"] is not None and now["previous"] > 1,
    "previous > 1": lambda now: None if now["previous"] is None else now["previous"] > 1,
    "features.speed < 2.0 || action == 0": lambda now: now["speed"] < 2 or now["action"] == 0,
    "previous == null || action != previous": lambda now: now["previous"] is None or now["action"] != now["previous"],
    "action > step": lambda now: now["action"] > now["step"],
    "previous < action": lambda now: None if now["previous"] is None else now["previous"] < now["action"],
}


def allowed(rules: Any, **now: Any) -> bool:
    """Whether an action keeps these rules, said without a shield."""
    for demand, when, _ in rules:
        if when is not None and ORACLES[when](now) is False:
            continue
        if "forbid" in demand and now["action"] in demand["forbid"]:
            return False
        if "require" in demand and ORACLES[demand["require"]](now) is not True:
            return False
    return True


def built(rules: Any) -> list[ShieldRule]:
    return [
        rule(f"r{i}", when=when, otherwise=otherwise, **demand) for i, (demand, when, otherwise) in enumerate(rules)
    ]


@settings(deadline=None, max_examples=300)
@given(
    DISCRETE_RULES,
    st.integers(0, 3),
    st.floats(-5, 5, width=32),
    st.none() | st.integers(0, 3),
    st.integers(0, 5),
    st.none() | st.lists(NUMBERS, min_size=4, max_size=4).map(np.array),
    st.none() | st.integers(0, 3),
)
def test_no_forbidden_action_gets_out_and_none_is_held_back_without_need(
    rules: Any, action: int, speed: float, previous: int | None, step: int, scores: Any, fallback: int | None
) -> None:
    made = guard(DISCRETE, *built(rules), fallback=None if fallback is None else [fallback])
    seen, before = np.array([speed, 0], np.float32), None if previous is None else np.array(previous)
    now = {"speed": speed, "previous": previous, "step": step}
    ruling = made.rule(seen, np.array(action), before, step, scores)
    possible = [a for a in range(4) if allowed(rules, action=a, **now)]
    if ruling.action is not None:
        assert int(ruling.action) in possible
        assert (ruling.rule is None) == (int(ruling.action) == action)
    else:
        assert action not in possible
        assert ruling.terminate or not possible
    onto = made.permitted(seen, before, step, scores)
    assert onto is not None
    assert onto[action] == (-1 if ruling.action is None else int(ruling.action)), "propensities add up what is executed"


BOX_RULES = st.lists(
    st.sampled_from(
        [
            {"clip": {"low": ["-0.5"], "high": ["0.3"]}},
            {"clip": {"low": ["0.1"], "high": ["0.7"]}},
            {"maxChange": ["0.1"]},
            {"maxChange": ["0.6", "0.2"]},
            {"require": "action[0] + action[1] < 0.9"},
            {"require": "math.abs(action[0]) < features.speed"},
        ]
    ),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, max_examples=300)
@given(
    BOX_RULES,
    st.tuples(NUMBERS, NUMBERS),
    st.none() | st.tuples(st.floats(-1, 1, width=32), st.floats(-1, 1, width=32)),
    st.floats(0, 2, width=32),
    st.none() | st.just([0.2, 0.1]),
)
def test_no_box_action_gets_out_that_breaks_a_rule(
    rules: Any, action: Any, previous: Any, speed: float, fallback: Any
) -> None:
    made = guard(BOX, *(rule(f"r{i}", **fields) for i, fields in enumerate(rules)), fallback=fallback)
    executed, name, _ = ruled(made, np.array(action, np.float32), np.array([speed, 0], np.float32), previous)
    if executed is None:
        assert name is not None
        return
    ulp = 1e-7  # bounds are rounded to the space's dtype
    for fields in rules:
        if "clip" in fields:
            low, high = float(fields["clip"]["low"][0]), float(fields["clip"]["high"][0])
            assert all(low - ulp <= x <= high + ulp for x in executed)
        if "maxChange" in fields and previous is not None:
            changes = itertools.cycle(map(float, fields["maxChange"]))
            assert all(abs(x - y) <= c + ulp for x, y, c in zip(executed, previous, changes, strict=False))
        if "require" in fields:
            assert executed[0] + executed[1] < 0.9 if "0.9" in fields["require"] else abs(executed[0]) < speed


# --- propensities

PROBABILITIES = np.array([0.1, 0.2, 0.3, 0.4])


def executed(made: Guard, action: int, probabilities: Any = PROBABILITIES, scores: Any = SCORES) -> float | None:
    propensity = 1.0 if probabilities is None else float(probabilities[action])
    ruling = made.rule(SLOW, np.array(action), None, 0, scores)
    return made.propensity(propensity, probabilities, ruling, SLOW, None, 0, scores)


@pytest.mark.parametrize(
    ("rules", "action", "expected"),
    [
        pytest.param([], 1, 0.2, id="no rules"),
        pytest.param([rule(forbid=[1, 3])], 0, 0.1, id="nothing else ends there"),
        pytest.param([rule(forbid=[1, 3])], 2, 0.9, id="it takes over what is forbidden"),
        pytest.param([rule(forbid=[1, 3])], 3, 0.9, id="the replaced one likewise"),
        pytest.param(
            [rule("a", forbid=[1]), rule("b", forbid=[3], otherwise="Terminate")], 2, 0.5, id="some end nowhere"
        ),
        pytest.param([rule(forbid=[3], otherwise="Terminate")], 3, None, id="nothing is executed"),
    ],
)
def test_the_propensity_is_that_of_what_is_executed(rules: Any, action: int, expected: float | None) -> None:
    found = executed(guard(DISCRETE, *rules), action)
    assert found is None if expected is None else found == pytest.approx(expected)


def test_what_is_certain_stays_certain_under_rules() -> None:
    assert executed(guard(DISCRETE, rule(forbid=[1])), 1, probabilities=None) == 1.0


def test_a_density_does_not_survive_a_move() -> None:
    made = guard(BOX, clip("-0.5", "0.5"))
    kept, moved = (made.rule(SLOW, np.array([x, 0.0], np.float32), None, 0, None) for x in (0.25, 0.75))
    assert [made.propensity(1.5, None, ruling, SLOW, None, 0, None) for ruling in (kept, moved)] == [1.5, None]


def test_too_many_actions_to_add_up_have_no_propensity() -> None:
    many = Space(type="Discrete", dtype="int64", n=5000)
    made, scores = guard(many, rule(forbid=[0])), np.arange(5000.0)
    ruling = made.rule(SLOW, np.array(0), None, 0, scores)
    assert ruling == Ruling(np.array(4999), "r")
    assert made.propensity(1 / 5000, np.full(5000, 1 / 5000), ruling, SLOW, None, 0, scores) is None
    product = guard(MULTI, rule(require="action[0] == 0"))
    ruling = product.rule(SLOW, np.array([0, 0]), None, 0, None)
    assert product.propensity(0.25, None, ruling, SLOW, None, 0, None) is None
