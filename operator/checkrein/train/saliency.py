"""What a policy looks at: how fast its scores change with each input, by central differences through ONNX Runtime.

A gradient of the very graph that serves, whatever its layers are; differentiating it anew by another library would
say something of another program. An element is moved by itself; of a larger observation neighbours, and of a picture
patches, are moved together, so that a gradient costs a bounded number of decisions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from checkrein.api.recording import MOST_ELEMENTS, MOST_UNITS, InputSaliency, Saliency
from checkrein.api.spaces import Space
from checkrein.train.policy import Array, Policy, Turn

ROWS = 20_000
"""Decisions that all gradients together may cost."""
MOST_LOOKED_AT, LEAST_LOOKED_AT = 200, 8
SIDE = 12  # patches
STEP = 1e-3
LARGEST_RANGE = 1e6
"""A Box that is said to be wider is as good as unbounded."""
CHOSEN = "score of the chosen action"
VALUE = "value"


@dataclass(frozen=True)
class Look:
    """One decision: the turn as it was before, and the action that followed."""

    turn: Turn
    action: Any


@dataclass(frozen=True)
class Unit:
    """Elements of one input (flat, C order) that are moved together."""

    label: str
    elements: Array


@dataclass(frozen=True)
class Leaf:
    """One differentiable input and its units."""

    name: str
    space: Space
    units: list[Unit]
    columns: int | None


def leaves(space: Space, features: Sequence[str]) -> list[Leaf]:
    """Of a space; what is counted (Discrete, MultiDiscrete) has no gradient. `features` name a flat one's elements."""
    found = {n: leaf for n, leaf in space.leaves.items() if leaf.type in ("Box", "MultiBinary")}
    most = max(1, MOST_UNITS // max(1, len(found)))
    return [_leaf(name, leaf, features if space.type != "Dict" else (), most) for name, leaf in found.items()]


def looks_wanted(inputs: Iterable[Leaf]) -> int:
    """How many decisions to look at, all episodes together."""
    units = sum(len(leaf.units) for leaf in inputs)
    return max(LEAST_LOOKED_AT, min(MOST_LOOKED_AT, ROWS // max(1, 2 * units))) if units else 0


def saliencies(policy: Policy, inputs: Sequence[Leaf], looks: Sequence[Look]) -> list[Saliency]:
    """Of the chosen action's score, and of the value where the graph has one."""
    if not inputs or not looks:
        return []
    found: dict[str, list[list[Array]]] = {}
    for look in looks:
        for of, gradients in _gradients(policy, inputs, look).items():
            found.setdefault(of, []).append(gradients)
    spreads = [_spreads(leaf, looks) for leaf in inputs]
    return [
        Saliency(
            of=of,
            steps=len(steps),
            inputs=[
                InputSaliency(
                    name=leaf.name,
                    columns=leaf.columns,
                    labels=[unit.label for unit in leaf.units],
                    gradients=rounded(np.mean([step[i] for step in steps], axis=0)),
                    spreads=rounded(spreads[i]),
                )
                for i, leaf in enumerate(inputs)
            ],
        )
        for of, steps in found.items()
    ]


def rounded(numbers: Any) -> list[float]:
    """Six digits that count, of finite numbers; what is not finite is 0, or the nearest that is."""
    return [float(f"{x:.6g}") for x in np.nan_to_num(np.asarray(numbers, np.float64), posinf=1e300, neginf=-1e300)]


def _leaf(name: str, space: Space, features: Sequence[str], most: int) -> Leaf:
    if space.size > MOST_ELEMENTS and (picture := _picture(space)) is not None:
        side = min(SIDE, int(most**0.5))
        rows, columns = (np.array_split(np.arange(n), min(n, side)) for n in picture.shape[:2])
        units = [Unit(_span(r) + "," + _span(c), picture[np.ix_(r, c)].ravel()) for r in rows for c in columns]
        return Leaf(name, space, units, len(columns))
    parts = np.array_split(np.arange(space.size), min(space.size, most))
    labels = list(features) if len(features) == space.size == len(parts) else [_span(part) for part in parts]
    return Leaf(name, space, [Unit(label[:80], part) for label, part in zip(labels, parts, strict=True)], None)


def _picture(space: Space) -> Array | None:
    """Flat indices as [height, width, channels], whichever way round the picture is; None of what is none."""
    indices = np.arange(space.size).reshape(space.shape)
    if indices.ndim == 2:
        return indices[:, :, None]
    if indices.ndim == 3:
        return np.moveaxis(indices, 0, -1) if space.shape[0] < space.shape[2] else indices
    return None


def _span(indices: Array) -> str:
    return str(indices[0]) if len(indices) == 1 else f"{indices[0]}-{indices[-1]}"


def _part(observation: Any, leaf: Leaf) -> Array:
    return np.asarray(observation[leaf.name] if leaf.name else observation, np.float64)


def _spreads(leaf: Leaf, looks: Sequence[Look]) -> Array:
    """Standard deviation of each unit's mean."""
    flat = np.stack([_part(look.turn.observation, leaf).ravel() for look in looks])
    return np.array([flat[:, unit.elements].mean(axis=1).std() for unit in leaf.units])


def _gradients(policy: Policy, inputs: Sequence[Leaf], look: Look) -> dict[str, list[Array]]:
    """Length of each score's gradient by each unit: one array for each leaf."""
    turns: list[Turn] = []
    widths: list[Array] = []
    for leaf in inputs:
        part = _part(look.turn.observation, leaf)
        steps = np.array([_step(leaf.space, part.ravel(), unit) for unit in leaf.units])
        turns += (
            _moved(look.turn, leaf, part, u, s * w) for u, w in zip(leaf.units, steps, strict=True) for s in (1, -1)
        )
        widths.append(steps)
    outputs = policy.say(turns)
    found = {}
    for of, scores in _scores(policy.interface.action, outputs, look.action).items():
        up, down = scores[0::2], scores[1::2]
        lengths = np.linalg.norm(up - down, axis=1) / (2 * np.concatenate(widths))
        found[of] = np.split(lengths, np.cumsum([len(w) for w in widths])[:-1])
    return found


def _step(space: Space, flat: Array, unit: Unit) -> float:
    """How far a unit is moved: a thousandth of its range, or of its magnitude where it has none."""
    bounds = [[float(b) for b in side] for side in (space.low, space.high)]
    if all(bounds):
        low, high = (side[int(unit.elements[0])] if len(side) > 1 else side[0] for side in bounds)
        if 0 < high - low < LARGEST_RANGE:
            return STEP * (high - low)
    return STEP * max(1.0, float(np.abs(flat[unit.elements]).max()))


def _moved(turn: Turn, leaf: Leaf, part: Array, unit: Unit, by: float) -> Turn:
    moved = part.copy()
    moved.reshape(-1)[unit.elements] += by
    observation = {**turn.observation, leaf.name: moved} if leaf.name else moved
    return Turn(observation, turn.rng, turn.state)


def _scores(space: Space, outputs: dict[str, Array], action: Any) -> dict[str, Array]:
    """Scores by name, [batch, any number] each."""
    found = {CHOSEN: chosen_scores(space, outputs, action)}
    if "value" in outputs:
        found[VALUE] = outputs["value"].reshape(len(outputs["value"]), -1).astype(np.float64)
    return found


def chosen_scores(space: Space, outputs: dict[str, Array], action: Any) -> Array:
    """Of a discrete action its logit or q-value above the mean of all; of a Box the action's elements.

    Logits say nothing by themselves: what is added to all of them changes no probability. [batch, parts of the action]
    """
    if space.type == "Box":
        means = outputs.get("mean", outputs["action"])
        return means.reshape(len(means), -1).astype(np.float64)
    scores = outputs.get("logits", outputs.get("q_values"))
    assert scores is not None
    flat = scores.reshape(len(scores), -1).astype(np.float64)
    if space.type == "MultiBinary":
        return flat
    widths = space.nvec if space.type == "MultiDiscrete" else [flat.shape[1]]
    taken = np.asarray(action).ravel() - (space.start or 0)
    parts = np.split(flat, np.cumsum(widths)[:-1], axis=1)
    return np.stack([p[:, int(a)] - p.mean(axis=1) for p, a in zip(parts, taken, strict=True)], axis=1)
