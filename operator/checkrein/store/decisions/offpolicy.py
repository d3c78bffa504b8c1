"""Episodes for an off-policy estimate: what stable did by the log, and what a candidate said to the same observations.

The sample are the episodes that stable began under `regime: Policy` and that were shadowed by the candidate. Which ones
are shadowed is drawn at their start, so leaving out the others chooses nothing; whatever went wrong later does choose,
so such an episode stays in the sample and says what it lacks.

A step's reward is what the next record of its episode told, and what reporters told of it; what they told of the
episode as a whole goes to its last step. An episode that was aborted or ran into its deadline counts as the worst.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from checkrein.judge.offpolicy import Episode, Step
from checkrein.store.decisions.records import DecisionRecord, EndRecord, OutcomeRecord, Record, ShadowRecord

WORST = ("aborted", "deadline")


@dataclass(slots=True)
class _Decided:
    propensity: float | None
    explored: bool
    value: float | None
    action: Any
    digest: str
    policy: str
    own: bool  # it was the policy's turn to act


@dataclass(slots=True)
class _Played:
    """One episode, as far as its records were met; they come in any order, from several streams."""

    decided: dict[int, _Decided] = field(default_factory=dict)
    shadowed: dict[int, ShadowRecord] = field(default_factory=dict)
    rewards: dict[int, float] = field(default_factory=dict)
    began: float = math.inf
    ended: float = 0.0
    length: int | None = None
    ending: str = ""
    arm: str = "stable"
    forked: bool = False
    late: float = 0.0


class Gathering:
    """Takes records in any order, and makes episodes of them.

    `candidate` and `stable` are names of PolicyVersions; without `stable` it is whoever acted in the latest episode.
    Episodes that began in [since, until), seconds since the epoch, are counted.
    """

    def __init__(
        self, candidate: str, *, stable: str | None = None, since: float = 0.0, until: float = math.inf
    ) -> None:
        self._candidate, self._stable = candidate, stable
        self._since, self._until = since, until
        self._played: dict[str, _Played] = {}
        self._episodes: dict[str, tuple[str, int]] = {}  # of decisions
        self._outcomes: dict[str | int, OutcomeRecord] = {}
        self.longest = 0
        """Steps of the longest episode so far, whoever played it."""

    def add(self, record: Record | None) -> None:
        """One record; those that say nothing of episodes are passed over."""
        if isinstance(record, DecisionRecord):
            self._decision(record)
        elif isinstance(record, ShadowRecord):
            if record.policy == self._candidate:
                self._of(record.episode).shadowed.setdefault(record.step, record)
        elif isinstance(record, EndRecord):
            self._end(record)
        elif isinstance(record, OutcomeRecord):
            # The reporter's id names an outcome: told again, it is the same one.
            self._outcomes.setdefault(record.id or len(self._outcomes), record)

    def episodes(self) -> list[Episode]:
        """The sample, by the starts of its episodes."""
        self._spread()
        found = [p for p in self._played.values() if self._is_stables(p)]
        found.sort(key=lambda played: played.began)
        stable = self._stable or (found[-1].decided[0].policy if found else "")
        return [_episode(p) for p in found if p.decided[0].policy == stable]

    def _is_stables(self, played: _Played) -> bool:
        first = played.decided.get(0)
        return (
            first is not None
            and first.own
            and first.policy != self._candidate
            and played.arm == "stable"
            and bool(played.shadowed)
            and self._since <= played.began < self._until
        )

    def _of(self, episode: str) -> _Played:
        return self._played.setdefault(episode, _Played())

    def _decision(self, record: DecisionRecord) -> None:
        self.longest = max(self.longest, record.step + 1)
        played = self._of(record.episode)
        self._episodes[record.decision] = (record.episode, record.step)
        played.arm = record.arm
        played.forked |= record.forked
        if record.step:
            _tell(played, record.step - 1, record.reward)
        else:
            played.began = min(played.began, _seconds(record.timestamp))
        known = played.decided.get(record.step)
        if known is None:
            played.decided[record.step] = _Decided(
                propensity=None if _is_continuous(record.action) else record.propensity,
                explored=record.exploration_flag,
                value=record.q_value,
                action=record.action,
                digest=record.observation_digest,
                policy=record.policy,
                own=record.regime == "Policy" and not record.overridden,
            )
        elif (known.action, known.digest) != (record.action, record.observation_digest):
            played.forked = True  # or an exploration that was given up: which one was acted on, nobody knows

    def _end(self, record: EndRecord) -> None:
        played = self._of(record.episode)
        if record.step:
            _tell(played, record.step - 1, record.reward)
        if played.length not in (None, record.step):
            played.forked = True
        played.length, played.ending = record.step, record.ending
        played.ended = _seconds(record.timestamp)

    def _spread(self) -> None:
        """What reporters told, to the episodes; once."""
        for outcome in self._outcomes.values():
            episode, step = self._episodes.get(outcome.decision or "", (outcome.episode or "", None))
            played = self._played.get(episode)
            if played is None or outcome.reward is None:
                continue
            if step is None:
                played.late += outcome.reward
            else:
                played.rewards[step] = played.rewards.get(step, 0.0) + outcome.reward
        self._outcomes.clear()


def _tell(played: _Played, step: int, reward: float | None) -> None:
    if reward is not None:
        played.rewards.setdefault(step, reward)


def _episode(played: _Played) -> Episode:
    count = max(played.decided) + 1
    there = [(step, played.decided.get(step), played.shadowed.get(step)) for step in range(count)]
    steps = [_step(played, step, decided, shadow) for step, decided, shadow in there if decided]
    if played.late:
        steps[-1] = Step(
            steps[-1].propensity,
            steps[-1].candidate,
            steps[-1].reward + played.late,
            steps[-1].explored,
            steps[-1].value,
        )
    return Episode(
        steps=tuple(steps),
        began=played.began,
        ended=played.ended,
        worst=played.ending in WORST,
        missing=next(_lacks(played, count), ""),
    )


def _step(played: _Played, step: int, decided: _Decided, shadow: ShadowRecord | None) -> Step:
    """The candidate's own value, where it has one, is the better guess at what it would have come to."""
    value = decided.value if shadow is None or shadow.q_value is None else shadow.q_value
    candidate = shadow.probability if shadow is not None and shadow.outcome == "decided" else None
    return Step(decided.propensity, candidate, played.rewards.get(step, 0.0), decided.explored, value)


def _lacks(played: _Played, count: int) -> Iterator[str]:
    """What keeps an episode from being counted, the gravest first."""
    decided = played.decided.values()
    if played.forked:
        yield "one answer to each step"
    if played.length is None:
        yield "its end"
    elif len(decided) != count or played.length != count:
        yield "some of its steps"
    if played.ending == "shield":
        yield "the decision that a rule of the shield ended it for"
    if not all(d.own for d in decided) or len({d.policy for d in decided}) > 1:
        yield "one policy throughout (overridden, limited, fallen back or switched)"
    if not played.rewards and not played.late and played.ending not in WORST:
        yield "any reward"


def _is_continuous(action: Any) -> bool:
    """Whether its propensity is a density."""
    if isinstance(action, (list, tuple)):
        return any(map(_is_continuous, action))
    return isinstance(action, float)


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
