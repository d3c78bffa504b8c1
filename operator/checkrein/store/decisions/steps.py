"""Steps of episodes that no stream holds. Episodes pass from replica to replica, so this sees what one chain cannot."""

from __future__ import annotations

from collections.abc import Iterator

SHOWN = 10


class Steps:
    """Notes steps in any order; keeps one number for an episode without a hole."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}  # all steps below it were seen
        self._ahead: dict[str, set[int]] = {}
        self._lengths: dict[str, int] = {}

    def decided(self, episode: str, step: int) -> None:
        """A step was logged."""
        following = self._next.get(episode, 0)
        if step > following:
            self._ahead.setdefault(episode, set()).add(step)
        elif step == following:
            self._next[episode] = self._catch_up(episode, following + 1)

    def _catch_up(self, episode: str, following: int) -> int:
        ahead = self._ahead.get(episode)
        while ahead and following in ahead:
            ahead.remove(following)
            following += 1
        return following

    def ended(self, episode: str, steps: int) -> None:
        """The episode had so many steps."""
        self._lengths[episode] = max(steps, self._lengths.get(episode, 0))

    def missing(self) -> Iterator[str]:
        """A sentence for each episode with a hole; after the tenth, one for the rest."""
        holes = sorted(self._holes())
        for episode, first, beyond in holes[:SHOWN]:
            yield f"episode {episode}: step {first}, and perhaps more before step {beyond}, is in no stream"
        if len(holes) > SHOWN:
            yield f"and so it is with {len(holes) - SHOWN} more episodes"

    def _holes(self) -> Iterator[tuple[str, int, int]]:
        for episode in self._ahead.keys() | self._lengths.keys():
            first = self._next.get(episode, 0)
            beyond = max(self._lengths.get(episode, 0), *self._ahead.get(episode, ()), 0)
            if beyond > first:
                yield episode, first, beyond
