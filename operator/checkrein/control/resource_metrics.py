"""The resources as Prometheus sees them, in the manner of kube-state-metrics: read from the cache when it asks.

Only who leads tells, so that nothing is told twice. The cost of a scrape is bounded: an object's lines are made once
for each of its versions, and of a kind with very many objects the rest is counted only.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from checkrein.control import resource_series as series
from checkrein.control.cache import Cache
from checkrein.control.kinds import OWN

MOST_OBJECTS = 10_000  # of one kind that are told one by one
Lines = dict[series.Family, str]
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Resources:
    """All series of the four kinds. `exposition` may run in another thread than the one that fills the cache."""

    def __init__(self, cache: Cache, leads: Callable[[], bool] = lambda: True) -> None:
        self._cache = cache
        self._leads = leads
        self._made: dict[tuple[str, ...], Lines] = {}

    def follow(self, cache: Cache, leads: Callable[[], bool]) -> None:
        """Tell of this cache from now on: the operator began anew."""
        self._cache, self._leads, self._made = cache, leads, {}

    def exposition(self) -> bytes:
        """Prometheus' text format; empty where another one leads."""
        if not self._leads():
            self._made = {}
            return b""
        found: defaultdict[series.Family, list[str]] = defaultdict(list)
        made: dict[tuple[str, ...], Lines] = {}
        for kind in OWN:
            objects = self._cache.objects(kind.kind)
            _count(kind.kind, objects, found)
            for obj in objects[:MOST_OBJECTS]:
                version = _version(kind.kind, obj)
                lines = made[version] = self._made.get(version) or _lines(kind.kind, obj)
                for family, text in lines.items():
                    found[family].append(text)
        self._made = made
        return "".join(_block(family, found[family]) for family in series.FAMILIES if family in found).encode()


def _version(kind: str, obj: dict[str, Any]) -> tuple[str, ...]:
    meta = obj["metadata"]
    return (kind, *(meta.get(key, "") for key in ("namespace", "name", "uid", "resourceVersion")))


def _count(kind: str, objects: list[dict[str, Any]], found: defaultdict[series.Family, list[str]]) -> None:
    phases = Counter((obj.get("status") or {}).get("phase", "Pending") for obj in objects)
    found[series.RESOURCES] += (_line(series.RESOURCES, (kind, phase), n) for phase, n in sorted(phases.items()))
    found[series.UNTOLD].append(_line(series.UNTOLD, (kind,), max(0, len(objects) - MOST_OBJECTS)))


def _lines(kind: str, obj: dict[str, Any]) -> Lines:
    """Of one object, whole or nothing: what an older schema let pass must not hide all the others."""
    try:
        rows = list(series.of(kind, obj))
    except (AttributeError, KeyError, TypeError, ValueError):
        meta = obj["metadata"]
        rows = [(series.UNREADABLE, (kind, meta.get("namespace", ""), meta["name"]), 1)]
    lines: Lines = {}
    for family, labels, value in rows:
        lines[family] = lines.get(family, "") + _line(family, labels, value)
    return lines


def _line(family: series.Family, labels: tuple[str, ...], value: float) -> str:
    pairs = ",".join(f'{k}="{v.translate(_ESCAPES)}"' for k, v in zip(family.labels, labels, strict=True))
    return f"{family.name}{{{pairs}}} {float(value)!r}\n"


def _block(family: series.Family, lines: list[str]) -> str:
    return f"# HELP {family.name} {family.help}\n# TYPE {family.name} gauge\n{''.join(lines)}"
