"""The exported graph held against the library that trained it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from sb3_contrib import MaskablePPO
from stable_baselines3.common.base_class import BaseAlgorithm

from checkrein.api.spaces import ACTION_MASK, Interface, Space
from checkrein.api.wrappers import Wrapper
from checkrein.train.export import NEXT
from checkrein.train.failures import Failed
from checkrein.train.policy import STATE, inputs
from checkrein.train.stacking import as_learnt

TIE = 1e-4
"""Scores closer than this (of the largest, or of 1) may be ranked either way: two runtimes round differently."""

LEAST = np.finfo(np.float64).min

Array = np.ndarray[Any, Any]


def verify(
    onnx: bytes,
    model: BaseAlgorithm,
    interface: Interface,
    observations: list[Any],
    wrappers: Sequence[Wrapper] = (),
) -> None:
    """Compare with the library's own deterministic actions. Raises Failed (ExportMismatch, permanent)."""
    session = onnxruntime.InferenceSession(onnx)
    names = [output.name for output in session.get_outputs()]
    _, stack = as_learnt(interface.observation, wrappers, observations)
    states = drawn_states(model, len(observations))
    feeds = inputs(interface.observation, observations) | stack
    feeds |= {f"{STATE}{len(stack) + i}": state for i, state in enumerate(states)}
    outputs = dict(zip(names, session.run(None, feeds), strict=True))
    expected, following = predict(model, interface, observations, wrappers, states)
    found = [outputs[f"{NEXT}{len(stack) + i}"] for i in range(len(following))]
    forgotten = [_any(np.abs(ours - theirs) > TIE) for ours, theirs in zip(found, following, strict=True)]
    differing = np.flatnonzero(np.logical_or.reduce([_differs(outputs, expected, interface.action), *forgotten]))
    if differing.size:
        first = differing[0]
        raise Failed(
            "ExportMismatch",
            f"the exported policy acts unlike the trained one on {differing.size} of {len(observations)} observations, "
            f"first {outputs['action'][first]} instead of {expected[first]}; report it with the TrainingJob's spec",
            permanent=True,
        )


def predict(
    model: BaseAlgorithm,
    interface: Interface,
    observations: list[Any],
    wrappers: Sequence[Wrapper] = (),
    states: Sequence[Array] = (),
) -> tuple[Array, list[Array]]:
    """The library's deterministic actions, as the environment executes them, and what its actor remembers then."""
    raw, _ = as_learnt(interface.observation, wrappers, observations)
    normalizer = model.get_vec_normalize_env()
    seen = normalizer.normalize_obs(raw) if normalizer is not None else raw
    layered = tuple(state.swapaxes(0, 1) for state in states[:2])
    mask = {"action_masks": raw[ACTION_MASK]} if isinstance(model, MaskablePPO) else {}
    actions, following = model.predict(seen, layered or None, deterministic=True, **mask)
    return np.asarray(actions) + (interface.action.start or 0), [part.swapaxes(0, 1) for part in following or ()]


def drawn_states(model: BaseAlgorithm, count: int) -> list[Array]:
    """Something that a recurrent network may remember, [count, layers, width] each; nothing of another network."""
    rng, policy = np.random.default_rng(0), model.policy
    lstms = [lstm for name in ("lstm_actor", "lstm_critic") if (lstm := getattr(policy, name, None)) is not None]
    return [
        rng.uniform(-1, 1, (count, lstm.num_layers, lstm.hidden_size)).astype(np.float32)
        for lstm in lstms
        for _ in range(2)
    ]


def _differs(outputs: dict[str, Array], expected: Array, space: Space) -> Array:
    """For each observation, whether the actions differ by more than rounding. Shape [batch]."""
    actions = outputs["action"]
    if space.type == "Box":
        return _any(np.abs(actions - expected) > TIE * max(1.0, float(np.abs(expected).max())))
    return _any(actions != expected) & ~_tied(outputs.get("logits", outputs.get("q_values")), space)


def _tied(scores: Array | None, space: Space) -> Array:
    """For each observation, whether rounding could decide the action. Shape [batch]."""
    assert scores is not None
    scores = np.where(np.isneginf(scores), LEAST, scores)  # masked out
    tie = TIE * np.maximum(1.0, np.where(scores > LEAST, np.abs(scores), 0).max(axis=1, keepdims=True))
    if space.type == "MultiBinary":
        return _any(np.abs(scores) < tie)
    widths = space.nvec if space.type == "MultiDiscrete" else [scores.shape[1]]
    parts = np.split(scores, np.cumsum(widths)[:-1], axis=1)
    gaps = [np.diff(np.sort(part, axis=1)[:, -2:], axis=1) for part in parts if part.shape[1] > 1]
    return _any(np.hstack([gap < tie for gap in gaps])) if gaps else np.zeros(len(scores), dtype=bool)


def _any(elements: Array) -> Array:
    """For each row, whether any element of it is true. Shape [batch]."""
    return np.asarray(elements.reshape(len(elements), -1).any(axis=1))
