"""Which units may be scored now: in the order of their start, each once, none for having been quick."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from checkrein.api.rollout import StreamStatus
from checkrein.control.rollout.ledger import Episode, Found
from checkrein.judge import assignment
from checkrein.judge.assignment import Arm, Unit

Episodes = Sequence[Episode] | None
"""Of one unit. None: unknown, since nothing of it, or not enough, was ever told."""


@dataclass(frozen=True)
class Ready:
    """A block, as `judge.blocks.Block` has it, before any metric is read from it."""

    candidate: tuple[Episodes, ...]
    stable: tuple[Episodes, ...]
    probability: float | None = None


@dataclass(frozen=True)
class Harvest:
    """Blocks that are ready, and the marks behind them."""

    blocks: tuple[Ready, ...]
    marks: Mapping[str, int]
    counted_since: float = 0.0


def episodes(found: Found, streams: Sequence[StreamStatus], closing: frozenset[str], seed: str) -> Harvest:
    """Blocks of the Episode design. Streams in `closing` are not waited for any more."""
    mine: defaultdict[str, defaultdict[int, dict[int, Unit]]] = defaultdict(lambda: defaultdict(dict))
    for unit in sorted(found.episodes, key=str):
        mine[unit.stream][unit.block].setdefault(unit.index, unit)
    ready: list[tuple[float, Ready]] = []
    marks: dict[str, int] = {}
    for stream in streams:
        planned, block, began = mine[stream.name], stream.block, 0.0
        while (next_ := _block(found, planned, stream.name, block, stream.name in closing, seed)) is not None:
            starts = [e[0].started for u in planned[block].values() if (e := found.episodes.get(u))]
            began = max(began, min(starts, default=began))
            ready.append((began, next_))
            block += 1
        marks[stream.name] = block
    return Harvest(tuple(r for _, r in sorted(ready, key=lambda pair: pair[0])), marks)


def _block(
    found: Found, planned: Mapping[int, dict[int, Unit]], stream: str, block: int, closing: bool, seed: str
) -> Ready | None:
    """One block of one stream; None where it is not over."""
    last = max(planned, default=-1)
    if block > last:
        return None
    over = closing or block < last  # no more starts can come
    shown = planned[block] or planned[min(b for b in planned if b > block and planned[b])]
    weight = next(iter(shown[i].weight for i in sorted(shown)))
    units: dict[Arm, list[Episodes]] = {"candidate": [], "stable": []}
    for index, arm in enumerate(assignment.arms(seed, stream, block, weight)):
        unit = planned[block].get(index)
        those = found.episodes[unit] if unit is not None and unit.weight == weight else None
        if those is None and not over:
            return None
        if those is not None and not all(e.finished for e in those):
            if not closing:
                return None
            those = None
        # Two episodes with one start, or one that was not told its arm by us: nobody knows what that unit came to.
        sound = those is not None and len(those) == 1 and those[0].arm == arm
        units[arm].append(those if sound else None)
    return Ready(tuple(units["candidate"]), tuple(units["stable"]))


def starts(
    found: Found, streams: Sequence[StreamStatus], closing: frozenset[str], share: float | None, seed: str
) -> tuple[list[Episode], dict[str, int]]:
    """Shadowed (`share`) or watched (None) episodes in the order of their start, and the marks behind them."""
    mine: defaultdict[str, list[Unit]] = defaultdict(list)
    for unit in found.episodes:
        mine[unit.stream].append(unit)
    ready: list[Episode] = []
    marks: dict[str, int] = {}
    for stream in streams:
        mark = stream.block
        for unit in sorted((u for u in mine[stream.name] if u.block >= mark), key=lambda u: u.block):
            episode = found.episodes[unit][0]
            if share is None or assignment.is_shadowed(seed, stream.name, unit.block, share):
                if not episode.finished and stream.name not in closing:
                    break
                ready += [episode] if episode.finished else []
            mark = unit.block + 1
        marks[stream.name] = mark
    return sorted(ready, key=lambda e: (e.started, e.id)), marks


@dataclass(frozen=True)
class Times:
    """What Client and Window designs need to know of time. Seconds.

    `since`: when the present step began. `dark`: units that began before it may have been seen by a replica that took
    its log with it.
    """

    now: float
    window: float
    since: float
    counted_since: float
    dark: float = 0.0


def windows(found: Found, times: Times, seed: str) -> Harvest:
    """Blocks of the Window design: over once all of their windows are, and every episode that began in them."""
    planned: defaultdict[tuple[int, int], dict[int, Unit]] = defaultdict(dict)
    for unit in found.episodes:
        planned[unit.block, unit.weight][unit.index] = unit
    ready, counted = [], times.counted_since
    for (block, weight), units in sorted(planned.items(), key=lambda item: _span(item[0][0], item[0][1], times.window)):
        begin, end = _span(block, weight, times.window)
        if begin < times.counted_since or (begin < times.since < end):
            continue  # counted, or cut by the change of step, which no result of its own has brought about
        if end > times.now or not all(e.finished for u in units.values() for e in found.episodes[u]):
            break
        arms: dict[Arm, list[Episodes]] = {"candidate": [], "stable": []}
        for index, arm in enumerate(assignment.arms(seed, "", block, weight)):
            those = found.episodes[units[index]] if index in units else None
            sound = those is not None and begin >= times.dark and all(e.arm == arm for e in those)
            arms[arm].append(those if sound else None)
        ready.append(Ready(tuple(arms["candidate"]), tuple(arms["stable"])))
        counted = max(counted, end)
    return Harvest(tuple(ready), {}, counted)


def _span(block: int, weight: int, window: float) -> tuple[float, float]:
    """Begin and end of a block of windows, Unix time."""
    size, _ = assignment.shape(weight)
    return block * size * window, (block + 1) * size * window


def clients(found: Found, times: Times, seed: str) -> Harvest:
    """One unit for each client: what it did within a window from its first episode. Never again the same client."""
    by_client: defaultdict[str, list[Episode]] = defaultdict(list)
    for unit, those in found.episodes.items():
        by_client[unit.stream] += those
    ready, counted = [], times.counted_since
    firsts = sorted(by_client.items(), key=lambda item: min((e.started, e.id) for e in item[1]))
    for client, told in firsts:
        first = min(told, key=lambda e: (e.started, e.id))
        if first.started < times.counted_since:
            continue
        those = [e for e in told if e.started < first.started + times.window and e.arm == first.arm]
        if first.started + times.window > times.now or not all(e.finished for e in those):
            break
        arm = assignment.of_client(seed, client, first.unit.weight)
        known: Episodes = those if arm == first.arm and first.started >= times.dark else None
        share = first.unit.weight / 100
        ready.append(Ready((known,), (), share) if arm == "candidate" else Ready((), (known,), share))
        counted = math.nextafter(first.started, math.inf)
    return Harvest(tuple(ready), {}, counted)
