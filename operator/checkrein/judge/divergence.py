"""Where two policies differ on the same observations, in numbers to look at. Divergence is not badness: it says where
to look, never who is better.

A report is a plain dictionary with the fields of `api.evidence.ShadowReport`. Means and variances after Welford, 1962,
"Note on a method for calculating corrected sums of squares and products".
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Report = dict[str, Any]

FEATURES, EXAMPLES, ACTIONS = 32, 8, 64
SHOWN = 64
"""Elements of an observation or an action that an example shows."""
PAIRS = 4096
"""Pairs of actions that are counted; beyond, the rarer half is forgotten."""
GROWTH = 1.05
"""Of one latency bucket to the next: a quantile is told within 2.5 %."""
COUNTS = ("compared", "agreed", "failed", "invalid", "shielded", "dropped")
MOST = 2**31 - 1
_CONSTANT = 1e-9
"""A standard deviation below this share of the mean is rounding."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One decision of both. Arrays are flat; `candidate` is None where it came to no action.

    `value` is the candidate's minus stable's, None where one has none. `actions` is `stable>candidate` of Discrete
    actions, else empty.
    """

    decision: str
    observation: Floats
    stable: Floats
    candidate: Floats | None
    agreed: bool
    distance: float
    value: float | None = None
    actions: str = ""


class Moments:
    """Mean and sum of squared deviations of vectors, element by element."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Floats = np.zeros(0)
        self.squares: Floats = np.zeros(0)

    def add(self, values: Floats) -> None:
        """One more, as long as the others."""
        if not self.count:
            self.mean, self.squares = np.zeros_like(values), np.zeros_like(values)
        self.count += 1
        delta = values - self.mean
        self.mean = self.mean + delta / self.count
        self.squares = self.squares + delta * (values - self.mean)


class Latencies:
    """Quantiles out of buckets that grow by `GROWTH`: bounded, and right within half a bucket. Microseconds."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()

    def add(self, micros: float) -> None:
        """One more."""
        self._buckets[round(math.log(max(micros, 1.0), GROWTH))] += 1

    def quantile(self, share: float) -> float | None:
        """The least latency that at least this share does not exceed. None without any."""
        left = math.ceil(share * self._buckets.total())
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return float(GROWTH**bucket)
        return None


class Divergence:
    """Takes in pairs, and reports on them. `names` are of the observation's first elements. Not for several threads."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._order = itertools.count()
        self._agreed, self._differed = Moments(), Moments()
        self._distance = self._value = 0.0
        self._valued = 0
        self._actions: Counter[str] = Counter()
        self._examples: list[tuple[float, int, Report]] = []
        self.latencies = Latencies()
        self.seen: tuple[Floats, Floats] | None = None
        """Least and greatest of each element of the observations."""

    def add(self, pair: Pair) -> None:
        """One more decision."""
        observation = pair.observation
        with np.errstate(over="ignore", invalid="ignore"):  # what float64 does not hold is left out of the report
            (self._agreed if pair.agreed else self._differed).add(observation)
        low, high = self.seen or (observation, observation)
        self.seen = np.minimum(low, observation), np.maximum(high, observation)
        self._distance += pair.distance
        if pair.value is not None and math.isfinite(pair.value):
            self._value += pair.value
            self._valued += 1
        if pair.actions:
            self._count(pair.actions)
        if not pair.agreed:
            self._show(pair)

    def report(self) -> Report:
        """What is known so far, as fields of a ShadowReport; without the counts of what was not compared."""
        compared = self._agreed.count + self._differed.count
        return {
            "compared": compared,
            "agreed": self._agreed.count,
            "distance": self._distance / compared if compared else 0.0,
            "value": self._value / self._valued if self._valued else None,
            "actions": dict(self._actions.most_common(ACTIONS)),
            "features": _features(self._names, self._agreed, self._differed),
            "examples": [example for _, _, example in sorted(self._examples, key=lambda e: e[:2], reverse=True)],
            "latency_p50_us": self.latencies.quantile(0.5),
            "latency_p99_us": self.latencies.quantile(0.99),
        }

    def _count(self, actions: str) -> None:
        self._actions[actions] += 1
        if len(self._actions) > PAIRS:
            self._actions = Counter(dict(self._actions.most_common(PAIRS // 2)))

    def _show(self, pair: Pair) -> None:
        """By the largest distance, then the latest."""
        place = (pair.distance, next(self._order))
        if len(self._examples) == EXAMPLES and place < self._examples[0][:2]:
            return
        example = {
            "decision": pair.decision,
            "observation": pair.observation[:SHOWN].tolist(),
            "stable": pair.stable[:SHOWN].tolist(),
            "candidate": [] if pair.candidate is None else pair.candidate[:SHOWN].tolist(),
            "distance": pair.distance,
        }
        (heapq.heappush if len(self._examples) < EXAMPLES else heapq.heapreplace)(self._examples, (*place, example))


def merge(reports: Iterable[Any]) -> Report:
    """One report of several, as dictionaries or models: over the replicas of a rollout.

    Counts, means and feature differences are those of all decisions together (features: of the replicas that list
    them). The median is that of the replicas' medians, by their decisions; p99 the largest, which is no less than
    that of all.
    """
    known = [_plain(report) for report in reports]
    made: Report = {name: min(sum(int(r.get(name) or 0) for r in known), MOST) for name in COUNTS}
    weighed = [(r, int(r.get("compared") or 0)) for r in known]
    actions: Counter[str] = Counter()
    for report in known:
        actions.update({pair: int(count) for pair, count in (report.get("actions") or {}).items()})
    made["distance"] = _mean((_number(r, "distance"), n) for r, n in weighed) or 0.0
    made["value"] = _mean((_number(r, "value"), n) for r, n in weighed)
    made["actions"] = {pair: min(count, MOST) for pair, count in actions.most_common(ACTIONS)}
    made["features"] = _merged_features(known)
    made["examples"] = _merged_examples(known)
    made["latency_p50_us"] = _median((_number(r, "latency_p50_us"), n) for r, n in weighed)
    made["latency_p99_us"] = max((p for r in known if (p := _number(r, "latency_p99_us")) is not None), default=None)
    return made


def _features(names: Sequence[str], agreed: Moments, differed: Moments) -> list[Report]:
    """By their effects, the largest first. The standard deviation is that of both groups together."""
    count = agreed.count + differed.count
    if not agreed.count or not differed.count:
        return []
    with np.errstate(over="ignore", invalid="ignore"):
        delta = differed.mean - agreed.mean
        squares = agreed.squares + differed.squares + delta**2 * (agreed.count * differed.count / count)
        deviation = np.sqrt(squares / count)
        varies = deviation > _CONSTANT * np.maximum(np.abs(agreed.mean), np.abs(differed.mean))
        effect = np.divide(delta, deviation, out=np.zeros_like(delta), where=varies)
    found = zip(names, agreed.mean.tolist(), differed.mean.tolist(), effect.tolist(), strict=True)
    return _clearest(_feature(name, *numbers) for name, *numbers in found if all(map(math.isfinite, numbers)))


def _feature(name: str, agreed: float, differed: float, effect: float) -> Report:
    return {"name": name, "agreed": agreed, "differed": differed, "effect": effect}


def _clearest(features: Iterable[Report]) -> list[Report]:
    return heapq.nlargest(FEATURES, features, key=lambda f: abs(f["effect"]))


def _merged_features(reports: Sequence[Mapping[str, Any]]) -> list[Report]:
    found: dict[str, list[tuple[int, int, float, float, float]]] = {}
    for report in reports:
        agreed = int(report.get("agreed") or 0)
        differed = int(report.get("compared") or 0) - agreed
        for feature in map(_plain, report.get("features") or ()):
            mean, other, effect = (float(feature[name]) for name in ("agreed", "differed", "effect"))
            found.setdefault(feature["name"], []).append((agreed, differed, mean, other, effect))
    merged = (_feature(name, *_pooled(parts)) for name, parts in found.items())
    return _clearest(f for f in merged if all(math.isfinite(f[name]) for name in ("agreed", "differed", "effect")))


def _pooled(parts: Sequence[tuple[int, int, float, float, float]]) -> tuple[float, float, float]:
    """Means and effect of all. A replica's variance is read off its effect, which it must not be zero for."""
    agreed = _mean((mean, n) for n, _, mean, _, _ in parts) or 0.0
    differed = _mean((mean, n) for _, n, _, mean, _ in parts) or 0.0
    overall = _mean(((na * a + nd * d) / (na + nd), na + nd) for na, nd, a, d, _ in parts if na + nd) or 0.0
    spreads = [
        (((d - a) / effect) ** 2 + ((na * a + nd * d) / (na + nd) - overall) ** 2, na + nd)
        for na, nd, a, d, effect in parts
        if effect and na + nd
    ]
    variance = _mean(spreads) or 0.0
    return agreed, differed, (differed - agreed) / math.sqrt(variance) if variance > 0 else 0.0


def _merged_examples(reports: Sequence[Mapping[str, Any]]) -> list[Report]:
    """By distance; of equal ones each replica's latest come first."""
    ranked = (
        (-float(example["distance"]), rank, place, example)
        for place, report in enumerate(reports)
        for rank, example in enumerate(map(_plain, report.get("examples") or ()))
    )
    return [dict(example) for *_, example in heapq.nsmallest(EXAMPLES, ranked, key=lambda e: e[:3])]


def _plain(value: Any) -> Mapping[str, Any]:
    """A model as a dictionary: who asks may have either, and this package knows no models."""
    found: Mapping[str, Any] = value if isinstance(value, Mapping) else value.model_dump()
    return found


def _number(report: Mapping[str, Any], name: str) -> float | None:
    value = report.get(name)
    return None if value is None else float(value)


def _mean(weighed: Iterable[tuple[float | None, int]]) -> float | None:
    """Of the numbers that there are. None where none has a weight."""
    kept = [(value, weight) for value, weight in weighed if value is not None and weight > 0]
    total = sum(weight for _, weight in kept)
    return math.fsum(value * weight for value, weight in kept) / total if total else None


def _median(weighed: Iterable[tuple[float | None, int]]) -> float | None:
    kept = sorted((value, weight) for value, weight in weighed if value is not None and weight > 0)
    half, passed = sum(weight for _, weight in kept) / 2, 0
    for value, weight in kept:
        passed += weight
        if passed >= half:
            return value
    return None
