"""Which outcomes have been told: a reporter that gets no answer tells them again."""

from __future__ import annotations

from collections import OrderedDict

from checkrein.agent.episodes import Episode
from checkrein.agent.messages import Outcome

SIZE = 65_536


class Told:
    """The last of them by what makes them the same, with their numbers in the log; the oldest go."""

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._numbers: OrderedDict[tuple[object, ...], int] = OrderedDict()

    def number(self, told: Outcome, episode: Episode | None) -> int | None:
        """Of the record that keeps it; None where it is new."""
        return self._numbers.get(_key(told, episode))

    def put(self, told: Outcome, episode: Episode | None, number: int) -> None:
        """It is in the log under this number; 0: it could not be kept, so it must be told again."""
        if not number:
            return
        self._numbers[_key(told, episode)] = number
        if len(self._numbers) > self._size:
            self._numbers.popitem(last=False)


def _key(told: Outcome, episode: Episode | None) -> tuple[object, ...]:
    """Of an episode: its id, as its token differs from step to step; without an id of the outcome, that token."""
    about = episode.id if episode else told.decision
    if told.id is not None:
        return (about, told.id)
    step = episode.step if episode else None
    return (about, step, told.reward, told.cost, told.objective, told.final)
