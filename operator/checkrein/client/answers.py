"""What an agent answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from checkrein.client.errors import EpisodeEndedError


@dataclass(frozen=True)
class Decision:
    """An action, whose it is, and the token that the next request of the episode carries.

    `policy` is empty where no policy decided; `regime` says under what it was decided: Policy, Fallback, Pin, Action or
    Limit.
    """

    action: Any
    episode: str
    decision: str
    policy: str
    explored: bool
    shielded: bool
    regime: str = "Policy"

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Decision:
        """From an answer's JSON. Raises KeyError, and EpisodeEndedError where the agent itself ended the episode."""
        if "ended" in content:
            raise EpisodeEndedError(Ended.parse(content).ended)
        known = {"regime": cls.regime, **content}
        return cls(**{name: known[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Ended:
    """An episode's end: how, after how many decisions, under which policy."""

    ended: str
    steps: int
    policy: str

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Ended:
        """From an answer's JSON. Raises KeyError."""
        return cls(**{name: content[name] for name in cls.__dataclass_fields__})
