"""Talking to an agent: typed decisions, episodes, and a driver for gymnasium environments."""

from checkrein.client.agent import AgentClient, Episode
from checkrein.client.answers import Decision, Ended
from checkrein.client.errors import (
    AgentError,
    AgentFailedError,
    ForbiddenError,
    InvalidRequestError,
    NotReadyError,
    UnauthenticatedError,
    UnknownEpisodeError,
    UnreachableError,
)

__all__ = [
    "AgentClient",
    "AgentError",
    "AgentFailedError",
    "Decision",
    "Ended",
    "Episode",
    "ForbiddenError",
    "InvalidRequestError",
    "NotReadyError",
    "UnauthenticatedError",
    "UnknownEpisodeError",
    "UnreachableError",
]
