"""Scenarios played under faults, several at once, and what the oracle says of each."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.cache import REPOSITORY
from tests.cluster.steps import ClusterError, say
from tests.faults.operators import CONTEXT, die_with_parent
from tests.faults.oracle import differences, is_whole, state, violations
from tests.faults.plans import plan
from tests.faults.points import Point, is_point, label, points
from tests.faults.proxy import Fault
from tests.faults.scenarios import SCENARIOS
from tests.faults.scenes import Scene, World

Raw = dict[str, Any]
FOLDER = REPOSITORY / "build" / "faults"
SHOWN = 8
STEADY_SECONDS = 2.6
"""For so long the end must stay as it is: in that time all is compared with a list once."""
SETTLED_SECONDS = 10.0
"""For so long, where all other ends are held against it: an operator may stand still for seconds on a busy machine."""


@dataclass(frozen=True)
class Trial:
    """A scenario under faults; `name` makes its namespace. `broken`: see Operator."""

    name: str
    scenario: str
    faults: Sequence[Fault] = ()
    patience: float = 240.0  # seconds, for each of its steps
    last: float = 240.0  # and for its end
    broken: Callable[[], None] | None = None


def planned(numbers: Iterable[int]) -> list[Trial]:
    """The plans of these numbers."""
    return [Trial(f"plan-{p.number}", p.scenario, p.faults) for p in map(plan, numbers)]


def crashes(faultless: Mapping[str, Outcome]) -> list[Trial]:
    """Every write point: the operator is killed before it, and after it, in the first scenario that comes by it."""
    first: dict[Point, str] = {}
    for name, outcome in faultless.items():
        for point in points(outcome.writes):
            first.setdefault(point, name)
    return [
        Trial(f"write-{number}-{when}", name, [point.killed(when)])
        for number, (point, name) in enumerate(first.items())
        for when in ("before", "after")
    ]


@dataclass
class Outcome:
    """What came of a trial. Nothing wrong: no `problems`."""

    trial: Trial
    problems: list[str]
    seconds: float
    starts: int
    state: Raw = field(repr=False)
    writes: Sequence[str] = field(repr=False)

    def dump(self) -> Raw:
        """As JSON data."""
        return {"trial": repr(self.trial), "problems": self.problems, "seconds": self.seconds, "starts": self.starts}


def told(outcomes: Iterable[Outcome]) -> str:
    """What is wrong; empty where nothing is."""
    return "\n".join(json.dumps(o.dump()) for o in outcomes if o.problems)


def play(world: World, trial: Trial, wanted: Raw | None = None) -> Outcome:
    """One trial; `wanted` is the end without faults."""
    begun = time.monotonic()
    scene = Scene(world, trial.name, trial.faults, trial.patience, trial.broken)
    problems: list[str] = []
    try:
        SCENARIOS[trial.scenario](scene)
        scene.calm()
        if wanted is None:
            scene.until(lambda: _stays(scene), "nothing changes any more")
        else:
            scene.until(lambda: state(scene) == wanted, "the end is that without faults", trial.last)
            time.sleep(STEADY_SECONDS)
    except ClusterError as error:
        problems.append(str(error).partition("\n")[0])
    except Exception as error:  # noqa: BLE001 - of one trial: the others go on
        problems.append(f"{type(error).__name__}: {error}")
    end = state(scene)
    scene.close()
    if wanted is not None:
        problems += list(differences(end, wanted))[:SHOWN]
    problems += violations(scene.api.exchanges)
    done = [label(e.call) for proxy in (scene.api, scene.store) for e in proxy.exchanges if is_point(e.call)]
    return Outcome(trial, problems, time.monotonic() - begun, scene.operator.starts, end, done)


def _stays(scene: Scene) -> bool:
    before = state(scene)
    time.sleep(SETTLED_SECONDS)
    return state(scene) == before and is_whole(before)


def play_all(world: World, trials: Iterable[Trial], faultless: Mapping[str, Outcome], jobs: int) -> Iterator[Outcome]:
    """So many at once, each in a process, as they come to their ends; held against the ends without faults."""
    with ProcessPoolExecutor(jobs, CONTEXT, die_with_parent) as pool:
        playing = [pool.submit(play, world, trial, _end(faultless, trial)) for trial in trials]
        for done in as_completed(playing):
            yield done.result()


def record_all(
    world: World, trials: Sequence[Trial], faultless: Mapping[str, Outcome], jobs: int, name: str
) -> list[Outcome]:
    """Plays all, and keeps each in build/faults/NAME.jsonl as it ends."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    outcomes = []
    with (FOLDER / f"{name}.jsonl").open("w", buffering=1) as record:
        for outcome in play_all(world, trials, faultless, jobs):
            outcomes.append(outcome)
            record.write(json.dumps(outcome.dump()) + "\n")
            if len(outcomes) % 50 == 0:
                say(f"{name}: {len(outcomes)} of {len(trials)}, {sum(bool(o.problems) for o in outcomes)} wrong")
    return outcomes


def _end(faultless: Mapping[str, Outcome], trial: Trial) -> Raw | None:
    return faultless[trial.scenario].state if faultless else None
