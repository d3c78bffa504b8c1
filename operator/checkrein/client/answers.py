"""What an agent answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Decision:
    """An action, whose it is, and the token that the next request of the episode carries."""

    action: Any
    episode: str
    decision: str
    policy: str
    explored: bool
    shielded: bool

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Decision:
        """From an answer's JSON. Raises KeyError."""
        return cls(**{name: content[name] for name in cls.__dataclass_fields__})


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
