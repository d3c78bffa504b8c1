"""What an agent or the way to it may answer instead of a decision.

AgentError
  InvalidRequestError    the request is at fault; `field` names where
    UnknownEpisodeError  the token is not one of this deployment: start a new episode
  UnauthenticatedError   no token, or one that cannot be verified
  ForbiddenError         the account may not ask here
  NotReadyError          no policy yet, or the agent cannot verify tokens; no decision was taken
  AgentFailedError       the policy or the server failed
  UnreachableError       no answer; `decided` says whether a decision may have been taken all the same
"""

from __future__ import annotations

import json
from http import HTTPStatus

import httpx


class AgentError(Exception):
    """Base of this package's errors. `status` is 0 where there was no answer; `problem` ends the problem's type."""

    def __init__(self, detail: str, *, status: int = 0, problem: str = "", field: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.problem = problem
        self.field = field


class InvalidRequestError(AgentError):
    """The request is at fault."""


class UnknownEpisodeError(InvalidRequestError):
    """The episode's token is not one of this deployment."""


class UnauthenticatedError(AgentError):
    """The caller is not known."""


class ForbiddenError(AgentError):
    """The caller is known and may not ask here."""


class NotReadyError(AgentError):
    """No decision was taken; a later try may succeed."""


class AgentFailedError(AgentError):
    """The policy or the server failed."""


class UnreachableError(AgentError):
    """No answer. `decided`: the request may have arrived, so that the decision may have been taken."""

    def __init__(self, detail: str, *, decided: bool) -> None:
        super().__init__(detail)
        self.decided = decided


_BY_STATUS: dict[int, type[AgentError]] = {
    HTTPStatus.UNAUTHORIZED: UnauthenticatedError,
    HTTPStatus.FORBIDDEN: ForbiddenError,
    HTTPStatus.SERVICE_UNAVAILABLE: NotReadyError,
}


def from_response(response: httpx.Response) -> AgentError:
    """The error that a refusal stands for (RFC 9457); also for answers of proxies, which send no problem."""
    document = _document(response)
    problem = str(document.get("type", "")).rpartition("/")[2]
    detail = str(document.get("detail") or f"HTTP {response.status_code} from {response.url}: {response.text:.200}")
    return _kind(response.status_code, problem)(
        detail, status=response.status_code, problem=problem, field=str(document.get("field", ""))
    )


def _kind(status: int, problem: str) -> type[AgentError]:
    if problem == "unknown-episode":
        return UnknownEpisodeError
    return _BY_STATUS.get(
        status, AgentFailedError if status >= HTTPStatus.INTERNAL_SERVER_ERROR else InvalidRequestError
    )


def _document(response: httpx.Response) -> dict[str, object]:
    try:
        found = response.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}
