"""A few of the evaluation's episodes played again, to be looked at: by their seeds, one at a time, within bounds.

Nothing here judges anything. An environment that does not repeat itself shows other episodes than were counted, and the
recording says so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from checkrein.api.environment import RLEnvironmentSpec
from checkrein.api.meta import bounded
from checkrein.api.recording import (
    MOST_ELEMENTS,
    MOST_EPISODES,
    MOST_RETURNS,
    MOST_STEPS,
    Agreement,
    Choice,
    Ending,
    Episode,
    Recording,
)
from checkrein.api.spaces import Space
from checkrein.train import saliency
from checkrein.train.evaluation import Played
from checkrein.train.failures import describe
from checkrein.train.frames import NoFrames, Replay, rendered
from checkrein.train.policy import ACTION, Policy, Turn
from checkrein.train.saliency import Look, rounded
from checkrein.train.seeds import acting_generator
from checkrein.train.shielding import Shielded
from checkrein.wrappers.environments import make_environment

SECONDS = 120.0
SAME_RETURN = 1e-6
SAME_ACTION = 0.01
"""Box: actions whose elements differ by less than this share of their range, on average, agree."""


@dataclass(frozen=True)
class Parent:
    """The version before."""

    name: str
    digest: str
    policy: Policy


@dataclass
class Comparison:
    """What it would have done, step by step."""

    parent: Parent
    turn: Turn = field(default_factory=lambda: Turn(None, acting_generator(0)))
    distances: list[float] = field(default_factory=list)
    agreed: int = 0

    def begin(self) -> None:
        self.turn = Turn(None, acting_generator(0))

    def compare(self, observation: Any, ours: Any, space: Space) -> None:
        """Best actions are compared, also of policies that draw."""
        self.turn.observation = observation
        theirs = self.parent.policy.say([self.turn])[ACTION][0]
        apart = np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64))
        self.distances.append(float(apart.mean()))
        self.agreed += bool((apart / _range(space)).mean() < SAME_ACTION if space.type == "Box" else not apart.any())

    def told(self, space: Space) -> Agreement | None:
        """None where nothing was compared."""
        if not (steps := len(self.distances)):
            return None
        distance = float(np.mean(self.distances)) if space.type == "Box" else None
        return Agreement(
            name=self.parent.name,
            digest=self.parent.digest,
            steps=steps,
            agreed=self.agreed / steps,
            distance=distance,
        )


@dataclass
class Take:
    """One episode as it was played again. `taken` are its actions, as the environment got them."""

    episode: Episode
    taken: list[list[float]]
    looks: list[Look]


def record(
    spec: RLEnvironmentSpec,
    shielded: Shielded,
    manifest: str,
    seeds: Sequence[int],
    played: Played,
    parent: Parent | None = None,
    remarks: Sequence[str] = (),
) -> Recording:
    """Raises what the environment raises; a picture that cannot be had, or time that is up, is a remark."""
    told = [*_interventions(played), *remarks]
    policy, interface = shielded.policy, shielded.policy.interface
    if parent and parent.policy.interface != interface:
        told.append(f"{parent.name} has another interface: what it would have done here cannot be asked")
        parent = None
    comparison = Comparison(parent) if parent else None
    features = _features(interface.observation, spec.safety.features)
    inputs = saliency.leaves(interface.observation, features)
    choices = chosen(played.returns)
    wanted = -(-saliency.looks_wanted(inputs) // len(choices))
    takes: list[Take] = []
    with closing(make_environment(spec)) as env:
        deadline = time.monotonic() + SECONDS
        for choice, index in choices:
            if time.monotonic() > deadline:
                told.append(f"only {len(takes)} episodes are kept: playing them took {SECONDS:g} s")
                break
            stride = max(1, min(played.lengths[index], MOST_STEPS) // max(1, wanted))
            seed, counted = seeds[index], played.returns[index]
            takes.append(_play(env, shielded, comparison, choice, index, seed, counted, stride, deadline))
    looks = [look for take in takes for look in take.looks]
    frames, frames_of = b"", ""
    try:
        frames, frames_of = _frames(spec, interface.action, takes)
    except NoFrames as no:
        told.append(str(no))
    return Recording(
        manifest=manifest,
        returns=played.returns[:MOST_RETURNS],
        lengths=played.lengths[:MOST_RETURNS],
        bounds=(float(spec.reward.bounds.min), float(spec.reward.bounds.max)) if spec.reward.bounds else None,
        features=features,
        continuous=interface.action.type == "Box",
        episodes=[take.episode for take in takes],
        saliency=saliency.saliencies(policy, inputs, looks),
        parent=comparison.told(interface.action) if comparison else None,
        frames=frames,
        frames_of=frames_of,
        remarks=[bounded(remark) for remark in told],
    )


def _interventions(played: Played) -> Iterator[str]:
    if any(played.shielded) or played.ended:
        yield (
            f"rules of the shield had a say in {sum(played.shielded)} of {sum(played.lengths) + len(played.ended)} "
            f"decisions, and ended {len(played.ended)} of {len(played.returns)} episodes"
        )


def chosen(returns: Sequence[float]) -> list[tuple[Choice, int]]:
    """Which episodes are kept: the median, the best, the worst and the first others; all seeds are random."""
    order = sorted(range(len(returns)), key=lambda index: (returns[index], index))
    marked: list[tuple[Choice, int]] = [
        ("median", order[(len(order) - 1) // 2]),
        ("best", order[-1]),
        ("worst", order[0]),
    ]
    others: Iterator[tuple[Choice, int]] = (("random", index) for index in range(len(returns)))
    unique: dict[int, Choice] = {}
    for choice, index in (*marked, *others):
        unique.setdefault(index, choice)
        if len(unique) == MOST_EPISODES:
            break
    return [(choice, index) for index, choice in unique.items()]


def _play(
    env: Any,
    shielded: Shielded,
    comparison: Comparison | None,
    choice: Choice,
    index: int,
    seed: int,
    counted: float,
    stride: int,
    deadline: float,
) -> Take:
    """As `evaluation` plays it, alone, until `deadline` (monotonic). Every `stride`-th step is looked at."""
    policy, tape, looks = shielded.policy, _Tape(), list[Look]()
    turn = Turn(env.reset(seed=seed)[0], acting_generator(seed))
    if comparison:
        comparison.begin()
    while tape.rolls and (not tape.actions or time.monotonic() < deadline):
        before = Turn(deepcopy(turn.observation), turn.rng, turn.state)
        outputs = policy.say([turn])
        [proposed] = policy.choose(outputs, [turn])
        [action] = shielded.keep(outputs, [proposed], [turn])
        if action is None:
            tape.ended_by(turn.rule)
            break
        if comparison:
            comparison.compare(before.observation, outputs[ACTION][0], policy.interface.action)
        if len(tape.actions) % stride == 0:
            looks.append(Look(before, proposed))
        tape.decided(_flat(policy.interface.observation, before.observation), action, outputs)
        turn.observation, reward, terminated, truncated, _ = env.step(action)
        tape.stepped(float(reward), "terminated" if terminated else "truncated" if truncated else "cut")
    return Take(tape.episode(choice, index, seed, counted), tape.actions, looks)


@dataclass
class _Tape:
    """One episode while it is played."""

    observations: list[list[float]] = field(default_factory=list)
    actions: list[list[float]] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    total: float = 0.0
    ending: Ending = "cut"
    rule: str | None = None

    @property
    def rolls(self) -> bool:
        """It has not ended, and there is room for another step."""
        return self.ending == "cut" and len(self.actions) < MOST_STEPS

    def decided(self, observation: list[float], action: Any, outputs: Mapping[str, Any]) -> None:
        self.observations.append(observation)
        self.actions.append([float(element) for element in np.asarray(action).ravel()])
        self.values += rounded(outputs["value"].ravel()[:1]) if "value" in outputs else []

    def stepped(self, reward: float, ending: Ending) -> None:
        self.rewards += rounded([reward])
        self.total += reward
        self.ending = ending

    def ended_by(self, rule: str | None) -> None:
        """Nothing was executed."""
        self.ending, self.rule = "shield", rule

    def episode(self, choice: Choice, index: int, seed: int, counted: float) -> Episode:
        """As it is kept. `counted`: the return by which it was evaluated."""
        return Episode(
            choice=choice,
            name=str(index),
            seed=seed,
            total=self.total,
            observations=self.observations if all(self.observations) else [],
            actions=[rounded(action) for action in self.actions if len(action) <= MOST_ELEMENTS],
            rewards=self.rewards,
            values=self.values,
            ending=self.ending,
            remark=self._remark(counted),
        )

    def _remark(self, counted: float) -> str:
        told = [f"its name is {self.rule}"] if self.rule else []
        if self.ending != "cut" and abs(self.total - counted) > SAME_RETURN * max(1.0, abs(counted)):
            told.append(f"it was counted with {counted:.6g}: the environment does not repeat itself by its seed")
        return "; ".join(told)


def _frames(spec: RLEnvironmentSpec, action: Space, takes: Sequence[Take]) -> tuple[bytes, str]:
    """Of the first episode in which anything was done. Raises NoFrames."""
    first = next((take for take in takes if take.taken), None)
    if first is None:
        return b"", ""
    seed = first.episode.seed or 0
    try:
        replay = Replay(environment=spec, action=action, seed=seed, actions=first.taken)
        return rendered(replay), first.episode.name
    except OSError as error:
        raise NoFrames(f"no picture: {describe(error)}") from error


def _range(space: Space) -> Any:
    """Of each element, where it is bounded; 1 where it is not. Broadcasts with the action."""
    low, high = (np.array([float(bound) for bound in side]) for side in (space.low, space.high))
    width = np.where(np.isfinite(high - low) & (high > low), high - low, 1.0)
    return width.reshape(space.shape) if width.size > 1 else width


def _features(space: Space, names: Sequence[str]) -> list[str]:
    """A name for each element of a flat observation; none of one that is not kept whole."""
    if sum(_width(leaf) for leaf in space.leaves.values()) > MOST_ELEMENTS:
        return []
    if space.type != "Dict" and len(names) == _width(space):
        return [name[:80] for name in names]
    return [
        f"{name}[{i}]" if name else f"observation[{i}]"
        for name, leaf in space.leaves.items()
        for i in range(_width(leaf))
    ]


def _width(leaf: Space) -> int:
    return max(1, leaf.size) if leaf.type == "Discrete" else leaf.size


def _flat(space: Space, observation: Any) -> list[float]:
    """All elements, of a Dict its members' in their order; none of an observation that is too large."""
    parts = [observation[name] if name else observation for name in space.leaves]
    if sum(np.asarray(part).size for part in parts) > MOST_ELEMENTS:
        return []
    return [number for part in parts for number in rounded(np.asarray(part).ravel())]
