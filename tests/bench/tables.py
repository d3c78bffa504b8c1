"""`python -m tests.bench.tables`: writes what build/bench/*.json say into the documents, between their markers."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

from tests.bench.report import FOLDER, number, read
from tests.cluster.cache import REPOSITORY

DOCUMENTS = (REPOSITORY / "docs" / "benchmarks.md", REPOSITORY / "docs" / "reliability.md")
SECTION = re.compile(r"(?P<begin><!-- figures: (?P<name>[a-z-]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)


def main() -> None:
    """Every section whose benchmark has run; the others stay as they are."""
    for document in DOCUMENTS:
        document.write_text(SECTION.sub(_section, document.read_text()))


def _section(found: re.Match[str]) -> str:
    name = found["name"]
    if not (FOLDER / f"{name}.json").exists():
        sys.stderr.write(f"{name}: has not run here, its tables stay as they are\n")
        return found[0]
    return f"{found['begin']}\n{section(read(name))}\n{found['end']}"


def section(document: dict[str, Any]) -> str:
    """The tables of one benchmark, and what they were measured on."""
    parts, single = [], []
    by_columns: dict[tuple[str, ...], list[str]] = {}
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for figure in document["figures"]:
        who, separator, what = figure["name"].partition(": ")
        if separator:
            rows.setdefault(who, {})[what] = figure
        else:
            single.append(figure)
    for who, cells in rows.items():
        by_columns.setdefault(tuple(cells), []).append(who)
    for columns, names in _merged(by_columns):
        parts.append(_table(["", *columns], [[who, *(_cell(rows[who].get(c)) for c in columns)] for who in names]))
    if single:
        parts.append(_table(["", "found"], [[f["name"], _cell(f)] for f in single]))
    parts += [f"{name} is missing: {' '.join(why.split())}" for name, why in document.get("missing", {}).items()]
    machine = document["machine"]
    parts.append(
        f"{machine['cores']} cores of {machine['processor']}, {machine['memory_gib']} GiB, Linux {machine['kernel']}, "
        f"Python {machine['python']}, load {machine['load_before']:.1f} before it began, "
        f"commit {_short(document['commit'])}."
    )
    return "\n\n".join(parts) + "\n"


def _merged(by_columns: dict[tuple[str, ...], list[str]]) -> list[tuple[tuple[str, ...], list[str]]]:
    """Rows whose columns are among those of others join them."""
    merged: list[tuple[tuple[str, ...], list[str]]] = []
    for columns, names in sorted(by_columns.items(), key=lambda item: -len(item[0])):
        home = next((m for m in merged if set(columns) <= set(m[0])), None)
        if home:
            home[1].extend(names)
        else:
            merged.append((columns, list(names)))
    return merged


def _cell(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return ""
    text = f"{number(figure['value'])} {figure['unit']}"
    if figure["goal"] is None:
        return text
    return f"{text} (goal {figure['goal']}: {'holds' if figure['holds'] else '**missed**'})"


def _short(commit: str) -> str:
    digits, _, changed = commit.partition("-")
    return digits[:12] + (" with changes" if changed else "")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
