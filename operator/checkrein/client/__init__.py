"""Talking to an agent: typed decisions, episodes, and drivers for gymnasium environments."""

from checkrein.client.agent import AgentClient, Episode
from checkrein.client.aio import AsyncAgentClient, AsyncEpisode
from checkrein.client.answers import Decision, Ended
from checkrein.client.errors import (
    AgentError,
    AgentFailedError,
    ConflictError,
    EpisodeEndedError,
    ForbiddenError,
    InvalidRequestError,
    LimitedError,
    NotReadyError,
    StoppedError,
    UnauthenticatedError,
    UnknownEpisodeError,
    UnreachableError,
)

__all__ = [
    "AgentClient",
    "AgentError",
    "AgentFailedError",
    "AsyncAgentClient",
    "AsyncEpisode",
    "ConflictError",
    "Decision",
    "Ended",
    "Episode",
    "EpisodeEndedError",
    "ForbiddenError",
    "InvalidRequestError",
    "LimitedError",
    "NotReadyError",
    "StoppedError",
    "UnauthenticatedError",
    "UnknownEpisodeError",
    "UnreachableError",
]
