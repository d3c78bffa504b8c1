"""CEL over what a decision is made from, compiled and checked once, when rules are loaded.

Only what an expression mentions is handed to it, since turning an observation into CEL's values costs far more than the
comparison itself: `features.speed` takes one number out of thousands. What an expression can cost is bounded before it
ever runs, because a running one cannot be interrupted.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import math
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from checkrein.api.meta import bounded
from checkrein.api.spaces import Interface
from checkrein.shield.arrays import Array, Observation

Reference = str | int
"""A member by its name or an element by its number."""
Reads = Mapping[str, frozenset[Reference] | None]
"""For each variable which members are mentioned; None: all of them may be."""

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "math.abs": abs,
    "math.greatest": max,
    "math.least": min,
    "math.sqrt": math.sqrt,
}
"""Under the names of cel-go's math library; CEL itself has none of them."""
BUILT_IN = {"double", "int", "size"}
MACROS = {"all": 1, "exists": 1, "exists_one": 1, "existsOne": 1, "filter": 3, "map": 3}
"""Macros that go through a list, with the power of its length that this takes: a list is copied for each element that
is appended to it.
"""
MOST_VISITS = 10_000
"""Elements that the macros of one expression may visit in a decision; this many take about 2 ms."""
_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|[rRbB]{0,2}(?:'''.*?'''|\"\"\".*?\"\"\"|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"))"""
    r"|(?P<token>[A-Za-z_]\w*|[0-9][0-9A-Za-z.]*|.)",
    re.DOTALL,
)


class ExpressionError(ValueError):
    """What is wrong with an expression, as a sentence."""


def _load() -> Any:
    """The compiled half of the package `cel`: its `__init__` imports a command line, 300 ms and 25 MB more.

    It is entered where `import cel` looks for it, because it must not be initialised twice in a process.
    """
    name = "cel.cel"
    if name not in sys.modules:
        package = importlib.util.find_spec("cel")
        places = package.submodule_search_locations if package else None
        spec = importlib.machinery.PathFinder.find_spec(name, places)
        if spec is None or spec.loader is None:
            raise ImportError("the package common-expression-language has no module cel.cel; install it as pinned")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]


_cel = _load()


@dataclass(frozen=True, slots=True)
class Expression:
    """A condition over `variables`."""

    source: str
    variables: frozenset[str]
    _program: Any

    def holds(self, context: Any) -> bool:
        """Whether it is true. Raises ExpressionError where it is neither true nor false."""
        try:
            result = self._program.execute(context)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic in the library is no Exception
            raise ExpressionError(bounded(f"{error}", 256)) from error
        if result is True or result is False:
            return result
        raise ExpressionError(f"it gives {result!r:.64}, neither true nor false")


class Vocabulary:
    """What expressions may mention at one interface: `variables`, and the named elements of the observation."""

    def __init__(self, interface: Interface, features: Sequence[str]) -> None:
        self._positions = _positions(interface, features)
        self._members: Collection[Reference] = range(interface.observation.size)
        if interface.observation.type == "Dict":
            self._members = interface.observation.leaves.keys()
        self._longest = max(1, interface.action.size, interface.observation.size)
        self._reads: dict[str, frozenset[Reference] | None] = {}

    def compile(self, source: str, variables: Collection[str], times: int = 1) -> Expression:
        """The expression, which may mention these variables and is asked so often in a decision.

        Raises ExpressionError.
        """
        try:
            program = _cel.compile(source)
        except ValueError as error:
            raise ExpressionError(f"it is not CEL: {' '.join(str(error).split())!s:.256}") from error
        tokens = [found["token"] for found in _TOKEN.finditer(source) if found["token"]]
        _check_names(set(program.variables()), _bound(tokens), set(variables))
        _check_functions(tokens, set(program.functions()))
        _check_cost(tokens, max(self._longest, tokens.count(",") + 1) * (1 + tokens.count("+")), times)
        reads = {name: _mentioned(tokens, name) for name in program.variables() if name in {*variables, "math"}}
        self._check_members("features", self._positions.keys(), reads)
        self._check_members("observation", self._members, reads)
        for name, members in reads.items():
            before = self._reads.get(name, members)
            self._reads[name] = None if before is None or members is None else before | members
        return Expression(source, frozenset(reads), program)

    def _check_members(self, name: str, known: Collection[Reference], reads: Reads) -> None:
        for unknown in reads.get(name) or ():
            if unknown not in known:
                choice = ", ".join(map(str, known)) or "none, since safety.features is empty"
                raise ExpressionError(f"{name} has no {unknown!r}; there are: {choice!s:.256}")

    def context(self, observation: Observation, previous: Array | None, step: int) -> Any:
        """What the expressions compiled so far look at, in one decision."""
        variables: dict[str, Any] = {}
        reads = self._reads
        if "features" in reads:
            variables["features"] = self._features(observation, reads["features"])
        if "observation" in reads:
            variables["observation"] = _plain_observation(observation, reads["observation"])
        if "previous" in reads:
            variables["previous"] = None if previous is None else plain(previous)
        if "step" in reads:
            variables["step"] = step
        return _cel.Context(variables, FUNCTIONS if "math" in reads else None)

    def _features(self, observation: Observation, members: frozenset[Reference] | None) -> dict[Any, Any]:
        names: Iterable[Any] = self._positions if members is None else members
        found = ((name, *self._positions[name]) for name in names)
        if isinstance(observation, dict):
            return {name: observation[member].item(index) for name, member, index in found}
        return {name: observation.item(index) for name, _, index in found}


def plain(array: Array) -> Any:
    """As CEL takes it: a number, or a flat list."""
    return array.ravel().tolist() if array.ndim else array.item()


def _plain_observation(observation: Observation, members: frozenset[Reference] | None) -> Any:
    if isinstance(observation, dict):
        return {name: plain(array) for name, array in observation.items() if members is None or name in members}
    if members is None or not observation.ndim:
        return plain(observation)
    return {index: observation.item(int(index)) for index in members}  # a map answers [3] as a list would


def _positions(interface: Interface, features: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Where each named element is: in which member, and there at which place in C order."""
    size = interface.observation.size
    if features and len(features) != size:
        raise ExpressionError(f"safety.features has {len(features)} names for the observation's {size} elements")
    if len(set(features)) != len(features):
        raise ExpressionError("safety.features has a name twice")
    places = ((member, i) for member, leaf in interface.observation.leaves.items() for i in range(leaf.size))
    return dict(zip(features, places, strict=False))


def _mentioned(tokens: Sequence[str], variable: str) -> frozenset[Reference] | None:
    """The members `variable.NAME` and elements `variable[NUMBER]`; None where it is used in any other way."""
    found: set[Reference] = set()
    for i, token in enumerate(tokens):
        if token != variable or (i and tokens[i - 1] == "."):
            continue
        match [*tokens[i + 1 : i + 4], "", "", ""][:3]:
            case [".", name, after] if name.isidentifier() and after != "(":
                found.add(name)
            case ["[", number, "]"] if number.isdecimal():
                found.add(int(number))
            case _:
                return None
    return frozenset(found)


def _bound(tokens: Sequence[str]) -> set[str]:
    """Names that macros give to elements: `x` in `.all(x, ...)`."""
    windows = zip(tokens, tokens[1:], tokens[2:], tokens[3:], tokens[4:], strict=False)
    return {
        name
        for dot, macro, opened, name, comma in windows
        if (dot, opened, comma) == (".", "(", ",") and macro in MACROS
    }


def _check_names(mentioned: set[str], bound: set[str], known: set[str]) -> None:
    if hidden := sorted(bound & {*known, "math"}):
        raise ExpressionError(f"a macro's variable must not be called {hidden[0]}, which means something else here")
    if unknown := sorted(mentioned - bound - known - {"math"}):
        raise ExpressionError(f"{unknown[0]} is unknown; there are: {', '.join(sorted(known))}")


def _check_functions(tokens: Sequence[str], unexpanded: set[str]) -> None:
    known = {"has", *BUILT_IN, *FUNCTIONS}
    for i, token in enumerate(tokens[:-1]):
        if tokens[i + 1] != "(" or not token.isidentifier() or token == "in":  # noqa: S105 - a word of CEL
            continue
        name = f"math.{token}" if tokens[max(0, i - 2) : i] == ["math", "."] else token
        macro = token in MACROS and i > 0 and tokens[i - 1] == "." and token not in unexpanded
        if name not in known and not macro:
            there = ", ".join(sorted({*known, *(f"list.{m}(x, ...)" for m in MACROS)}))
            raise ExpressionError(f"there is no function {name} for that; there are: {there}")


def _check_cost(tokens: Sequence[str], longest: int, times: int) -> None:
    """Macros inside macros multiply. `longest` is the length of the longest list that there can be."""
    powers: list[int] = []
    for before, token in zip(["", *tokens], tokens, strict=False):
        if token == "(":  # noqa: S105 - not a password
            powers.append(MACROS.get(before, 0))
            if powers[-1] and times * longest ** sum(powers) > MOST_VISITS:
                raise ExpressionError(
                    f"{before} may go through more than {MOST_VISITS} elements in a decision ({longest} in a list,"
                    f" {times} actions); name single elements, or use fewer macros inside macros"
                )
        elif token == ")" and powers:  # noqa: S105 - not a password
            powers.pop()
