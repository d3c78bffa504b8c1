"""Fields that contradict each other: one object at least against each rule that the API server evaluates (CEL)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.api import test_admitted as admitted
from tests.api import test_strategies as strategies
from tests.api.objects import MISSING, agent, changed, environment, gate, policy_version, training, words
from tests.faults.mutation_donors import DICT, WRAPPERS

Raw = dict[str, Any]
Conflict = tuple[str, str, Raw]  # path, what, object
CLIENT, STACK, FLATTEN, CLIP, _ = WRAPPERS
TOLERATIONS = "spec.template.tolerations"


def conflicts(kind: str) -> Iterator[Conflict]:
    """Every object of the tables of bad ones, and those that no table has."""
    tables = {
        "RLEnvironment": (environment(), admitted.BAD_ENVIRONMENTS),
        "TrainingJob": (training(), admitted.BAD_TRAINING),
        "PolicyVersion": (policy_version(), admitted.BAD_POLICIES),
        "AgentDeployment": (agent(), admitted.BAD_AGENTS),
    }
    good, table = tables[kind]
    for path, value, _, name in _rows(table):
        yield path, name, changed(good, path, value)
    for path, what, value in OTHERS[kind]:
        yield path, what, changed(good, path, value)
    if kind == "AgentDeployment":
        yield from _of_agents(good)


def _rows(table: list[Any]) -> Iterator[tuple[str, Any, str, str]]:
    for row in table:
        path, value, says = row.values
        yield path, value, says, str(row.id)


def _of_agents(good: Raw) -> Iterator[Conflict]:
    for row in admitted.BAD_OVERRIDES:
        change, field, _ = row.values
        override = {key: value for key, value in (admitted.OVERRIDE | change).items() if value is not MISSING}
        yield field, str(row.id), changed(good, "spec.override", override)
    for row in strategies.BAD_STRATEGIES:
        path, value, field, _ = row.values
        yield f"spec.strategy{_dotted(field)}", str(row.id), changed(good, f"spec.strategy{path}", value)
    for row in strategies.BAD_GATES:
        bad, field, _ = row.values
        obj = changed(good, strategies.GATES, [gate("errors", "errors"), bad])
        yield f"{strategies.GATES}.1.{field}", str(row.id), obj
    for row in strategies.BAD_WORDS:
        path, value, _ = row.values
        said = changed({"spec": {"rollout": words()}}, f"spec.rollout.{path}", value)["spec"]["rollout"]
        yield f"spec.rollout.{path}", str(row.id), changed(good, "spec.rollout", said)


def _dotted(path: str) -> str:
    return path.replace("[", ".").replace("]", "")


def _tolerations(path: str) -> list[tuple[str, str, Any]]:
    return [
        (f"{path}.0", "a toleration without a key", {"value": "x"}),
        (f"{path}.0", "a value beside Exists", {"key": "a", "operator": "Exists", "value": "x"}),
        (f"{path}.0", "seconds without NoExecute", {"operator": "Exists", "tolerationSeconds": 1}),
    ]


def _spaces(path: str) -> list[tuple[str, str, Any]]:
    return [
        (f"{path}.observation.dtype", "a space without dtype", MISSING),
        (f"{path}.observation", "a Dict without members", {"type": "Dict"}),
        (f"{path}.observation", "a MultiDiscrete without nvec", {"type": "MultiDiscrete", "dtype": "int64"}),
        (f"{path}.observation", "a Discrete without n", {"type": "Discrete", "dtype": "int64"}),
        (f"{path}.action", "an action with members", DICT),
        (f"{path}.action", "an action that is a Dict without members", {"type": "Dict"}),
        (f"{path}.action.dtype", "an action without dtype", MISSING),
    ]


_MEMBERS = [
    ({"type": "Box", "shape": [2], "low": ["0"], "high": ["1"]}, "dtype"),
    ({"type": "Box", "dtype": "float32", "shape": [2], "high": ["1"]}, "low"),
    ({"type": "Box", "dtype": "float32", "shape": [2], "low": ["0"]}, "high"),
    ({"type": "Discrete", "dtype": "int64"}, "n"),
    ({"type": "MultiDiscrete", "dtype": "int64"}, "nvec"),
]
OTHERS: dict[str, list[tuple[str, str, Any]]] = {
    "RLEnvironment": [
        ("spec.wrappers", "a wrapper at Client after one at Policy", [STACK, CLIENT]),
        ("spec.wrappers", "two stacks", [STACK, STACK]),
        ("spec.wrappers", "stacked before it is flat", [STACK, FLATTEN]),
        ("spec.wrappers.0", "no wrapper", {"at": "Policy"}),
        ("spec.wrappers.0", "two in one", {**STACK, "flatten": {}}),
        ("spec.wrappers", "two wrappers in one", [{**STACK, "flatten": {}}]),
        ("spec.wrappers", "no wrapper at all", [{"at": "Policy"}]),
        ("spec.wrappers", "a stack at Client", [{**STACK, "at": "Client"}]),
        ("spec.wrappers", "a reward clipped at Policy", [{**CLIP, "at": "Policy"}]),
        ("spec.wrappers", "gymnasium in training only", [{**CLIENT, "at": "TrainingOnly"}]),
        ("spec.wrappers", "an empty clip", [{"at": "TrainingOnly", "clipReward": {"min": "1", "max": "1"}}]),
        ("spec.reward.success", "a success out of bounds", "501"),
        ("spec.reward.bounds", "bounds of nothing", {"min": "5", "max": "5"}),
    ],
    "TrainingJob": [
        *(
            ("spec.algorithm", f"{name} that draws", {"name": name, "acting": "Stochastic"})
            for name in ("DQN", "SAC", "TD3", "DDPG")
        ),
        *_tolerations(TOLERATIONS),
    ],
    "PolicyVersion": [
        *_spaces("spec.interface"),
        *(
            (f"spec.interface.{side}", f"a member without {lack}", {"type": "Dict", "members": [{"name": "m", **m}]})
            for side in ("observation", "action")
            for m, lack in _MEMBERS
        ),
        ("spec.interface.action", "an action box without low", {"type": "Box", "dtype": "float32", "high": ["1"]}),
        ("spec.interface.action", "an action box without high", {"type": "Box", "dtype": "float32", "low": ["1"]}),
        ("spec.interface.action", "an action list without nvec", {"type": "MultiDiscrete", "dtype": "int64"}),
    ],
    "AgentDeployment": [
        ("spec.fallback", "an override by no fallback", MISSING),
        ("spec.template.tolerations", "a toleration without a key", [{"value": "x"}]),
        ("spec.template.tolerations", "a value beside Exists", [{"key": "a", "operator": "Exists", "value": "x"}]),
        ("spec.template.tolerations", "seconds without NoExecute", [{"operator": "Exists", "tolerationSeconds": 1}]),
        (
            "spec.template.resources",
            "more than the limit",
            {"requests": {"cpu": 2}, "limits": {"cpu": 1}},
        ),
        ("spec.auth.mode", "callers where anybody may ask", "None"),
    ],
}
