"""What a replica remembers of the episodes that it has seen, bounded. Nobody's evidence: it serves metrics, retries,
forks and deadlines; the log is what counts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from checkrein.agent.episodes import Episode
from checkrein.shield.arrays import Array

SIZE = 16_384


@dataclass(slots=True)
class Entry:
    """One episode. `returned` is None once a step was taken elsewhere: what is left would be no return."""

    episode: Episode
    digest: str = ""
    returned: float | None = 0.0
    forked: bool = False
    # By the step that goes on from it: the policy's key, and what its network remembers. Two, so that a retry works.
    states: dict[int, tuple[str, tuple[Array, ...]]] = field(default_factory=dict)

    def keep(self, step: int, policy: str, state: tuple[Array, ...]) -> None:
        """What a network remembers before this step."""
        self.states[step] = (policy, state)
        for old in [s for s in self.states if s < step - 1]:
            del self.states[old]


class Book:
    """Entries by episode id, the oldest first; the oldest goes when there are too many."""

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, episode: Episode) -> Entry | None:
        """The entry of this episode."""
        return self._entries.get(episode.id)

    def decided(self, episode: Episode, digest: str, reward: float | None) -> Entry:
        """A step of it was decided here on the observation with this digest."""
        entry = self._entries.get(episode.id)
        if entry is None:
            entry = Entry(episode, digest, 0.0 if episode.step == 0 else None)
            self._entries[episode.id] = entry
            if len(self._entries) > self._size:
                self._entries.popitem(last=False)
        elif entry.episode.step == episode.step:
            entry.forked = entry.forked or entry.digest != digest
        else:
            self._add(entry, episode, reward)
            entry.episode, entry.digest = episode, digest
        return entry

    def ended(self, episode: Episode, reward: float | None) -> Entry | None:
        """It ended here. None where it was not known."""
        entry = self._entries.pop(episode.id, None)
        if entry is not None:
            self._add(entry, episode, reward)
        return entry

    def overdue(self, before: float) -> Iterator[Entry]:
        """Takes out those that began before this moment (seconds since the epoch)."""
        late = [key for key, entry in self._entries.items() if entry.episode.started < before]
        for key in late:
            yield self._entries.pop(key)

    @staticmethod
    def _add(entry: Entry, episode: Episode, reward: float | None) -> None:
        """Rewards add up to a return only while no step is missing."""
        if episode.step != entry.episode.step + 1 or entry.returned is None:
            entry.returned = None
        else:
            entry.returned += reward or 0.0
