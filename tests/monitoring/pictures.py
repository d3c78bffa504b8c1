"""Draws the dashboards' data, for people who have no Grafana at hand.

`python -m tests.monitoring.pictures FOLDER`: of the story that the tests tell; of the demo: `make demo-pictures`.
"""

from __future__ import annotations

import math
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from tests.cluster.cache import REPOSITORY
from tests.cluster.controlplane import ControlPlane
from tests.cluster.minio import Minio
from tests.cluster.processes import State
from tests.monitoring import boards
from tests.monitoring.prometheus import Series
from tests.monitoring.story import Watched, variables, watch

mpl.use("Agg")
PICTURES = REPOSITORY / "build" / "pictures"
ROWS_SHOWN = 10
COLUMNS, LINE = 24, 0.32  # Grafana's grid: a panel of height 8 becomes 8 * LINE inches high
CODE = re.compile(r"\{\{\s*(\w+)\s*\}\}")


Choose = Callable[[str], Mapping[str, str]]
"""What the variables of a dashboard stand for."""


def draw(watched: Watched, folder: Path, choose: Choose = variables) -> list[Path]:
    """One picture for each dashboard."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_draw(watched, file, folder / f"{file.stem}.png", choose) for file in boards.FILES]


def _draw(watched: Watched, file: Path, target: Path, choose: Choose) -> Path:
    board = boards.load(file)
    placed = [panel for panel in board["panels"] if panel["type"] != "row"]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in placed)
    figure = plt.figure(figsize=(18, height * LINE + 0.6))
    figure.suptitle(board["title"], fontsize=14)
    for panel in placed:
        _panel(watched, figure, panel, choose(file.stem), height)
    figure.savefig(target, dpi=70)
    plt.close(figure)
    return target


def _panel(watched: Watched, figure: Any, panel: Mapping[str, Any], chosen: Mapping[str, str], height: int) -> None:
    place = panel["gridPos"]
    left, width = place["x"] / COLUMNS + 0.035, place["w"] / COLUMNS - 0.05
    bottom = 1 - (place["y"] + place["h"] - 0.9) / (height + 1.5) - 0.02
    axes = figure.add_axes((left, bottom, width, (place["h"] - 2.4) / (height + 1.5)))
    axes.set_title(panel["title"], fontsize=9, loc="left")
    found: list[tuple[str, Series]] = []
    for target in panel["targets"]:
        asked = boards.Asked("", "", target["expr"], target.get("legendFormat", ""))
        series = watched.prometheus.series(asked.filled(chosen), watched.start, watched.end)
        found += [(_legend(asked.legend, one.labels), one) for one in series]
    {"stat": _stat, "table": _table, "state-timeline": _states}.get(panel["type"], _lines)(axes, found, watched)


def _legend(form: str, labels: Mapping[str, str]) -> str:
    return CODE.sub(lambda match: labels.get(match[1], ""), form)


def _lines(axes: Any, found: list[tuple[str, Series]], watched: Watched) -> None:
    for name, series in found:
        axes.plot([t - watched.start for t, _ in series.values], [v for _, v in series.values], label=name, lw=1)
    axes.tick_params(labelsize=7)
    axes.set_xlim(0, watched.end - watched.start)
    if found:
        axes.legend(fontsize=6, loc="best", ncol=1 + len(found) // 8, framealpha=0.5)


def _states(axes: Any, found: list[tuple[str, Series]], watched: Watched) -> None:
    for row, (_, series) in enumerate(found):
        for moment, value in series.values:
            colour = plt.get_cmap("viridis")(min(1.0, abs(value) / 2)) if value else "lightgrey"
            axes.barh(row, 1.0, left=moment - watched.start, color=colour, height=0.7)
    axes.set_yticks(range(len(found)), [name for name, _ in found], fontsize=6)
    axes.tick_params(axis="x", labelsize=7)
    axes.set_xlim(0, watched.end - watched.start)


def _stat(axes: Any, found: list[tuple[str, Series]], watched: Watched) -> None:
    axes.axis("off")
    newest = sorted(found, key=lambda pair: pair[1].values[-1][0])[-2:]
    words = [name or _short(series.values[-1][1]) for name, series in newest]
    axes.text(0.5, 0.4, "\n".join(dict.fromkeys(words)) or "no data", ha="center", va="center", fontsize=13)


def _table(axes: Any, found: list[tuple[str, Series]], watched: Watched) -> None:
    axes.axis("off")
    last = max((series.values[-1][0] for _, series in found), default=0)
    rows = [(series.labels, series.values[-1][1]) for _, series in found if series.values[-1][0] >= last - 1]
    names = sorted({name for labels, _ in rows for name in labels})
    text = [[labels.get(name, "") for name in names] + [_short(value)] for labels, value in rows[:ROWS_SHOWN]]
    if text:
        made = axes.table(text, colLabels=[*names, "value"], loc="upper left", cellLoc="left")
        made.auto_set_font_size(False)
        made.set_fontsize(6)


def _short(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else str(value)


def main(arguments: list[str]) -> None:
    """Draw, and say where."""
    print("\n".join(map(str, _of_the_story(Path(arguments[0]) if arguments else PICTURES))))


def _of_the_story(folder: Path) -> list[Path]:
    states = [State.create(f"pictures-{name}", owned=True) for name in ("controlplane", "minio")]
    try:
        plane, minio = ControlPlane(states[0]), Minio(states[1])
        with tempfile.TemporaryDirectory() as work, watch(plane, minio, Path(work)) as watched:
            return draw(watched, folder)
    finally:
        for state in states:
            state.remove()


if __name__ == "__main__":
    main(sys.argv[1:])
