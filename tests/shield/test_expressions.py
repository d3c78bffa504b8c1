"""CEL over an observation: what may be said, and what is refused before it is ever asked."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from checkrein.api.spaces import Interface, Member, Space
from checkrein.shield.expressions import ExpressionError, Vocabulary

VARIABLES = ("observation", "features", "action", "previous", "step")
DISCRETE = Space(type="Discrete", dtype="int64", n=3)
FLAT = Interface(
    observation=Space(type="Box", dtype="float32", shape=[2, 2], low=["-inf"], high=["inf"]), action=DISCRETE
)
NUMBER = Interface(observation=Space(type="Discrete", dtype="int64", n=9), action=DISCRETE)
IMAGE = Interface(
    observation=Space(type="Box", dtype="uint8", shape=[84, 84], low=["0"], high=["255"]), action=DISCRETE
)
NESTED = Interface(
    observation=Space(
        type="Dict",
        members=[
            Member(name="camera", type="Box", dtype="uint8", shape=[2], low=["0"], high=["255"]),
            Member(name="speed", type="Box", dtype="float64", low=["0"], high=["9"]),
        ],
    ),
    action=DISCRETE,
)
NAMES = ["x", "speed", "angle", "spin"]
SEEN = np.array([[0.25, 1.5], [-0.5, 4.0]], np.float32)
SEEN_NESTED = {"camera": np.array([7, 200], np.uint8), "speed": np.array(2.5)}


def holds(source: str, interface: Interface = FLAT, features: Any = NAMES, observation: Any = SEEN, **now: Any) -> bool:
    vocabulary = Vocabulary(interface, features)
    expression = vocabulary.compile(source, VARIABLES)
    context = vocabulary.context(observation, now.get("previous"), now.get("step", 0))
    context.add_variable("action", now.get("action", 1))
    return expression.holds(context)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("features.speed < 2.0", True, id="a feature"),
        pytest.param("features.speed < 2", True, id="compared with a whole number"),
        pytest.param("features.spin == 4.0 && features.x == 0.25", True, id="two features"),
        pytest.param("features['speed'] > 2.0", False, id="a feature by a string"),
        pytest.param("has(features.angle)", True, id="has"),
        pytest.param("observation[3] == 4.0", True, id="an element, in C order"),
        pytest.param("observation[0] + observation[1] == 1.75", True, id="two elements"),
        pytest.param("observation.all(o, o > -1.0)", True, id="every element"),
        pytest.param("size(observation) == 4", True, id="the list"),
        pytest.param("observation[0] == 0.25 && observation.exists(o, o == 4.0)", True, id="both ways"),
        pytest.param("observation.filter(o, o > 0.0).map(o, o * 2.0) == [0.5, 3.0, 8.0]", True, id="filter and map"),
        pytest.param("action in [1, 2]", True, id="the action"),
        pytest.param("step == 0 && previous == null", True, id="the first step"),
        pytest.param("math.abs(features.angle) == 0.5", True, id="abs"),
        pytest.param("math.greatest(features.x, features.speed) == 1.5", True, id="greatest"),
        pytest.param("math.sqrt(features.spin) == math.least(2.0, 3.0)", True, id="sqrt and least"),
        pytest.param("'features.none' != \"observation[99]\" // features.none", True, id="strings and comments"),
    ],
)
def test_an_expression_says(source: str, expected: bool) -> None:
    assert holds(source) is expected


@pytest.mark.parametrize(
    ("source", "interface", "observation", "features"),
    [
        pytest.param("observation == 4", NUMBER, np.array(4), (), id="one number"),
        pytest.param("features.floor == 4", NUMBER, np.array(4), ["floor"], id="one named number"),
        pytest.param("observation.speed > 2.0", NESTED, SEEN_NESTED, (), id="a member"),
        pytest.param("observation.camera[1] == 200", NESTED, SEEN_NESTED, (), id="an element of a member"),
        pytest.param(
            "features.right == 200 && features.v == 2.5", NESTED, SEEN_NESTED, ["left", "right", "v"], id="named"
        ),
        pytest.param("observation[7055] == 0", IMAGE, np.zeros((84, 84), np.uint8), (), id="the last pixel"),
    ],
)
def test_any_observation_can_be_spoken_of(source: str, interface: Interface, observation: Any, features: Any) -> None:
    assert holds(source, interface, features, observation)


def test_a_member_may_be_called_like_a_variable() -> None:
    member = Member(name="features", type="Box", dtype="uint8", shape=[2], low=["0"], high=["255"])
    interface = Interface(observation=Space(type="Dict", members=[member]), action=DISCRETE)
    seen = {"features": np.array([7, 200], np.uint8)}
    assert holds("observation.features[1] == 200 && features.left == 7", interface, ["left", "right"], seen)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        pytest.param("features.speed <", "not CEL", id="no expression"),
        pytest.param("speed < 2.0", "speed is unknown; there are: action, features", id="unknown name"),
        pytest.param(".features.speed < 2.0", "unknown", id="a name from the root"),
        pytest.param("features.sped < 2.0", "no 'sped'; there are: x, speed, angle, spin", id="unknown feature"),
        pytest.param("action == 0 || features.sped < 2.0", "no 'sped'", id="unknown feature, rarely asked"),
        pytest.param("observation[4] < 2.0", "no 4", id="no such element"),
        pytest.param("abs(action) < 1", "no function abs", id="unknown function"),
        pytest.param("'a'.matches('b')", "no function matches", id="functions on text"),
        pytest.param("math.cos(1.0) < 1.0", "no function math.cos", id="unknown function of math"),
        pytest.param("observation.all(step, step < 1.0)", "must not be called step", id="a hidden variable"),
        pytest.param("observation.all(i, v, v < 1.0)", "v is unknown", id="a macro of two variables"),
        pytest.param("(" * 300 + "true" + ")" * 300, "not CEL", id="nested too deep"),
        pytest.param(
            "observation.all(a, observation.all(b, " * 4 + "true" + "))" * 4,
            "name single elements",
            id="too many loops",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_when_it_is_loaded(source: str, words: str) -> None:
    with pytest.raises(ExpressionError, match=words):
        Vocabulary(FLAT, NAMES).compile(source, VARIABLES)


@pytest.mark.parametrize(
    ("source", "times", "fits"),
    [
        pytest.param("observation.all(o, o < 9)", 1, True, id="once through an image"),
        pytest.param("observation.all(o, o < 9)", 18, False, id="once for each of 18 actions"),
        pytest.param("observation.map(o, o) == []", 1, False, id="copies grow with the square"),
        pytest.param("observation[0] < 9", 1024, True, id="single elements cost nothing"),
    ],
)
def test_what_takes_too_long_is_refused(source: str, times: int, fits: bool) -> None:
    vocabulary = Vocabulary(IMAGE, ())
    if fits:
        vocabulary.compile(source, VARIABLES, times)
    else:
        with pytest.raises(ExpressionError, match=f"{times} actions"):
            vocabulary.compile(source, VARIABLES, times)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        pytest.param("features.speed + 1 < 2.0", "coerce", id="whole and other numbers do not add up"),
        pytest.param("previous < action", "overload", id="null is less than nothing"),
        pytest.param("1 / (action - 1) == 0", "zero", id="division by zero"),
        pytest.param("features.speed", "neither true nor false", id="a number is no condition"),
        pytest.param("math.sqrt(-1.0) < 1.0", "math", id="a function fails"),
        pytest.param("features['sped'] < 1.0", "sped", id="unknown feature by a string"),
    ],
)
def test_what_fails_is_neither_true_nor_false(source: str, words: str) -> None:
    with pytest.raises(ExpressionError, match=words):
        holds(source)


@pytest.mark.parametrize(
    ("features", "words"),
    [
        pytest.param(["x"], "1 names for the observation's 4 elements", id="too few"),
        pytest.param([*NAMES, "y"], "5 names", id="too many"),
        pytest.param(["x", "x", "y", "z"], "twice", id="one twice"),
    ],
)
def test_features_must_name_each_element_once(features: list[str], words: str) -> None:
    with pytest.raises(ExpressionError, match=words):
        Vocabulary(FLAT, features)


@pytest.mark.parametrize(
    "order",
    [
        pytest.param("import checkrein.shield.expressions, cel", id="ours first"),
        pytest.param("import cel, checkrein.shield.expressions", id="theirs first"),
    ],
)
def test_the_whole_package_may_be_imported_beside_it(order: str) -> None:
    """Its compiled half ends the process's import where it is initialised twice."""
    subprocess.run([sys.executable, "-c", f"{order}; assert cel.evaluate('1 < 2')"], check=True)


def test_a_decision_reads_only_what_is_mentioned() -> None:
    """An image of 7,056 elements costs as much as four, where one pixel matters."""
    vocabulary = Vocabulary(IMAGE, ())
    vocabulary.compile("observation[5] < 9 && observation[7000] < 9", VARIABLES)
    context = vocabulary.context(np.full((84, 84), 3, np.uint8), None, 0)
    assert context.variables == {"observation": {5: 3, 7000: 3}}
