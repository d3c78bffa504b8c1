"""Figures as inline SVG. Labels are somebody else's text: never mathematics, escaped by the SVG's writer."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from checkrein.api.recording import Episode, InputSaliency

OURS, THEIRS, QUIET = "#1f5fbf", "#c2701c", "#8a8f98"
WIDTH = 8.0  # inches
MOST_LINES = 8
MOST_BARS = 32
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "checkrein",  # the same figure is the same bytes
    "text.parse_math": False,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "figure.constrained_layout.use": True,
}


def _drawn(height: float, draw: Callable[[Figure], None]) -> Markup:
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height))
        draw(figure)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return Markup(text[text.index("<svg") :])  # noqa: S704 - matplotlib escapes what it writes


def returns(name: str, ours: Sequence[float], other: str, theirs: Sequence[float], bound: float | None) -> Markup:
    """How often which return came, of the version and of the one before; and each of its own in turn."""

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, width_ratios=[3, 2])
        edges = np.histogram_bin_edges([*ours, *theirs], bins=min(30, max(5, len(ours) // 4)))
        for label, values, colour in ((name, ours, OURS), (other, theirs, THEIRS)):
            if len(values):
                weights = np.full(len(values), 1 / len(values))
                left.hist(values, edges, weights=weights, color=colour, alpha=0.55, label=f"{label} ({len(values)})")
                left.axvline(float(np.mean(values)), color=colour, linewidth=1.5)
        if bound is not None:
            left.axvline(bound, color="black", linestyle=":", label="lower bound of the mean")
        left.set(xlabel="return", ylabel="share of episodes")
        left.legend(frameon=False)
        right.plot(ours, ".", color=OURS, markersize=3)
        right.set(xlabel="episode", ylabel="return")

    return _drawn(2.8, draw)


def actions(episodes: Sequence[Episode], *, continuous: bool) -> Markup | None:
    """How often which action was taken in the episodes shown; None where none was kept."""
    rows = [row for episode in episodes for row in episode.actions]
    if not rows or len({len(row) for row in rows}) > 1:
        return None
    taken = np.array(rows)
    shown = min(taken.shape[1], MOST_LINES)

    def draw(figure: Figure) -> None:
        axes = figure.subplots(1, shown, squeeze=False)[0]
        for i, axis in enumerate(axes):
            if continuous:
                axis.hist(taken[:, i], 30, weights=np.full(len(taken), 1 / len(taken)), color=OURS)
            else:
                values, counts = np.unique(taken[:, i], return_counts=True)
                axis.bar([f"{value:g}" for value in values[:MOST_BARS]], counts[:MOST_BARS] / len(taken), color=OURS)
            axis.set(xlabel="action" if shown == 1 else f"action[{i}]", ylabel="share of steps" if i == 0 else "")

    return _drawn(2.2, draw)


def episode(told: Episode, features: Sequence[str], *, continuous: bool) -> Markup:
    """One episode in time: what it was paid so far, what the policy expected, what it did, what it saw."""
    panels: list[Callable[[Any], None]] = []
    if any(reward is not None for reward in told.rewards):
        panels.append(lambda axis: _money(axis, told))
    if any(value is not None for value in told.values):
        panels.append(lambda axis: _value(axis, told))
    if told.actions:
        panels.append(lambda axis: _lines(axis, told.actions, [], "action", dots=not continuous))
    if told.observations:
        panels.append(lambda axis: _lines(axis, told.observations, features, "observation", dots=False))

    def draw(figure: Figure) -> None:
        axes = figure.subplots(max(1, len(panels)), 1, sharex=True, squeeze=False)[:, 0]
        for axis, panel in zip(axes, panels, strict=False):
            panel(axis)
        axes[-1].set_xlabel("step")

    return _drawn(0.6 + 1.3 * max(1, len(panels)), draw)


def _money(axis: Any, told: Episode) -> None:
    axis.plot(list(accumulate(reward or 0.0 for reward in told.rewards)), color=OURS)
    axis.set_ylabel("return so far")


def _value(axis: Any, told: Episode) -> None:
    """What the policy expected from each step on, discounted."""
    axis.plot([np.nan if value is None else value for value in told.values], color=THEIRS)
    axis.set_ylabel("value")


def _lines(axis: Any, rows: Sequence[Sequence[float]], names: Sequence[str], what: str, *, dots: bool) -> None:
    """Elements over time; of many the ones that move most."""
    if len({len(row) for row in rows}) > 1:
        axis.set_ylabel(f"{what}: of changing form")
        return
    table = np.array(rows)
    order = np.argsort(-table.std(axis=0), kind="stable")[:MOST_LINES]
    for index in sorted(order):
        label = names[index] if len(names) == table.shape[1] else f"{what}[{index}]" if table.shape[1] > 1 else what
        axis.plot(table[:, index], "." if dots else "-", linewidth=1, markersize=2, label=label)
    axis.set_ylabel(what)
    if table.shape[1] > 1:
        axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7)


def saliency(told: InputSaliency) -> Markup | None:
    """Gradient times spread: by how much the score moves as the input does what it usually does. None of no units."""
    weights = np.array(told.gradients) * np.array(told.spreads)
    if not weights.size:
        return None
    if told.columns:
        return _drawn(3.0, lambda figure: _heat(figure, weights.reshape(-1, told.columns)))
    order = np.argsort(-weights, kind="stable")[:MOST_BARS][::-1]

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        axis.barh(range(len(order)), weights[order], color=OURS)
        axis.set_yticks(range(len(order)), [told.labels[i] for i in order])
        axis.set_xlabel("mean |gradient| x standard deviation of the input")

    return _drawn(0.7 + 0.22 * len(order), draw)


def _heat(figure: Figure, grid: Any) -> None:
    axis = figure.subplots()
    axis.grid(visible=False)
    axis.set_anchor("W")
    figure.colorbar(axis.imshow(grid, cmap="viridis"), label="mean |gradient| x standard deviation", anchor=(0.0, 0.5))
    axis.set(xlabel="patch", ylabel="patch")
