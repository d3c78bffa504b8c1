"""Numbers, times and tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from checkrein.api.meta import format_duration


def number(value: Decimal | float | str | None) -> str:
    """Four digits that count; a dash for what is not known."""
    return "-" if value is None else f"{float(value):.4g}"


def interval(bounds: Sequence[Decimal | float | str]) -> str:
    """`[-1.2, 3]`."""
    return f"[{', '.join(map(number, bounds))}]" if bounds else "-"


def share(part: float, whole: float) -> str:
    """In per cent."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def span(value: timedelta) -> str:
    """In whole seconds, never below zero."""
    return format_duration(max(value, timedelta(0)))


def moment(value: datetime | None) -> str:
    """RFC 3339, in seconds."""
    return value.isoformat(timespec="seconds").replace("+00:00", "Z") if value else "-"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of columns that are as wide as they need to be."""
    cells = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in cells]


def plural(count: int, noun: str) -> str:
    """`1 unit`, `2 units`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
