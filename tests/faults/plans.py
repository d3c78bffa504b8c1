"""Plans by number: which scenario, under which faults. Pure: the same number is the same plan."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.faults import faults as f
from tests.faults.scenarios import SCENARIOS

OWN = ("rlenvironments", "trainingjobs", "policyversions", "agentdeployments")
CHILDREN = ("jobs", "pods", "statefulsets", "secrets", "services")
MOST_FAULTS = 4


@dataclass(frozen=True)
class Plan:
    """A scenario and its faults. `str` says all of it."""

    number: int
    scenario: str
    faults: Sequence[f.Occasions]


def plan(number: int) -> Plan:
    """The plan of this number; every scenario gets its turn."""
    rng = random.Random(number)
    names = tuple(SCENARIOS)
    kinds = [rng.choice(KINDS) for _ in range(rng.randint(1, MOST_FAULTS))]
    return Plan(number, names[number % len(names)], tuple(kind(rng) for kind in kinds))


def _api(rng: random.Random, verb: str = "") -> dict[str, object]:
    """Some requests to the API server."""
    verb = verb or rng.choice(("any", "read", "write", "write"))
    about = rng.choice(("", *OWN, *CHILDREN))
    most = 20 if about else 60
    return {"side": "api", "verb": verb, "about": about, "first": rng.randrange(most), "times": rng.randint(1, 5)}


def _store(rng: random.Random) -> dict[str, object]:
    """Some requests to the store, of the operator or of pods."""
    verb = rng.choice(("any", "read", "write", "write"))
    return {"side": "store", "verb": verb, "first": rng.randrange(30), "times": rng.randint(1, 4)}


def _side(rng: random.Random) -> dict[str, object]:
    return _store(rng) if rng.random() < 0.3 else _api(rng)


def _once(rng: random.Random) -> dict[str, object]:
    """One write."""
    return {**_side(rng), "verb": "write", "times": 1}


def _events(rng: random.Random) -> dict[str, object]:
    """Some events of the watches of a kind."""
    about = rng.choice((*OWN, "jobs", "pods", "statefulsets"))
    return {"side": "api", "verb": "watch", "about": about, "first": rng.randrange(12), "times": rng.randint(1, 6)}


def _refused(rng: random.Random) -> f.Occasions:
    if rng.random() < 0.3:
        return f.Refused(**_store(rng), status=rng.choice((409, 429, 500, 503)))  # type: ignore[arg-type]
    return f.Refused(**_api(rng), status=rng.choice((409, 410, 429, 500, 503)))  # type: ignore[arg-type]


def _stale(rng: random.Random) -> f.Occasions:
    about = rng.choice(("", *OWN, "jobs", "pods"))
    first, times = rng.randrange(1, 8), rng.randint(1, 6)
    return f.Stale("api", "read", about, first, times, age=rng.randint(1, 5))


KINDS: tuple[Callable[[random.Random], f.Occasions], ...] = (
    _refused,
    _refused,
    _stale,
    _stale,
    lambda rng: f.Unsent(**_side(rng)),  # type: ignore[arg-type]
    lambda rng: f.Unanswered(**_side(rng)),  # type: ignore[arg-type]
    lambda rng: f.Late(**_side(rng), seconds=rng.uniform(0.2, 1.5)),  # type: ignore[arg-type]
    lambda rng: f.Paused(**_once(rng), seconds=rng.uniform(0.3, 2.0)),  # type: ignore[arg-type]
    lambda rng: f.Stopped(**_once(rng)),  # type: ignore[arg-type]
    lambda rng: f.Killed(**_once(rng), when=rng.choice(("before", "after"))),  # type: ignore[arg-type]
    lambda rng: f.Killed(**_once(rng), when=rng.choice(("before", "after"))),  # type: ignore[arg-type]
    lambda rng: f.Dropped(**_events(rng)),  # type: ignore[arg-type]
    lambda rng: f.Repeated(**_events(rng)),  # type: ignore[arg-type]
    lambda rng: f.Delayed(**_events(rng), seconds=rng.uniform(0.2, 1.5)),  # type: ignore[arg-type]
    lambda rng: f.Swapped(**_events(rng)),  # type: ignore[arg-type]
    lambda rng: f.Ended(**_events(rng), gone=rng.random() < 0.5),  # type: ignore[arg-type]
)
