"""One step of one episode, on its way to an answer."""

from __future__ import annotations

import msgspec
import numpy as np

from checkrein.agent.book import Entry
from checkrein.agent.episodes import Episode
from checkrein.agent.execution import Situation
from checkrein.agent.messages import Act
from checkrein.agent.policies import Policy
from checkrein.agent.regime import Choice
from checkrein.api.spaces import Space
from checkrein.shield.arrays import Observation, element_shape


class Turn(msgspec.Struct, frozen=True, gc=False):
    """All that is known before anybody decides.

    `digest` is the observation's, `full` says whether the log keeps all of it. `now` is the time of day, `began` is by
    the clock for durations. `standing` is whom the rollout puts in charge, `stands` the key that the episode keeps even
    where he is not at hand, `choices` are who may decide, in order. `overridden`: a person's word holds. `groups` are
    the subgroups of an episode that begins.
    """

    request: Act
    episode: Episode
    decision: str
    observation: Observation
    digest: str
    full: bool
    caller: str
    now: float
    began: float
    entry: Entry | None
    standing: Policy | None
    choices: tuple[Choice, ...]
    stands: str = ""
    overridden: bool = False
    groups: tuple[str, ...] = ()

    @property
    def forked(self) -> bool:
        """Whether this step was decided here before, on another observation."""
        entry = self.entry
        return entry is not None and entry.episode.step == self.episode.step and entry.digest != self.digest

    def situation(self, action: Space) -> Situation:
        """What rules look at."""
        previous = self.episode.previous
        before = None if previous is None else np.asarray(previous, action.dtype).reshape(element_shape(action))
        return Situation(self.observation, before, self.episode.step)
