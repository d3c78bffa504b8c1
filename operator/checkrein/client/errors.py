"""What an agent or the way to it may answer instead of a decision.

AgentError
  InvalidRequestError    the request is at fault; `field` names where
    UnknownEpisodeError  the token is not one of this deployment: start a new episode
  UnauthenticatedError   no token, or one that cannot be verified
  ForbiddenError         the account may not ask here
  ConflictError          no action may be executed here: the shield lets none through, or another replica remembers
                         what the episode's network needs
  StoppedError           a person has forbidden to decide (spec.override.mode Stop); asking again does not help
  NotReadyError          no decision was taken: no policy yet, overload, or the agent cannot verify tokens
    LimitedError         no decision was taken: more was asked for than spec.limits grants
  AgentFailedError       the policy or the server failed
  UnreachableError       no answer; `decided` says whether a decision may have been taken all the same
  EpisodeEndedError      the agent itself ended the episode: a shield's rule or the deadline; `ending` says which
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from http import HTTPStatus


class AgentError(Exception):
    """Base of this package's errors. `status` is 0 where there was no answer; `problem` ends the problem's type.

    `retry_after`: how many seconds the agent asks to wait, 0 where it does not.
    """

    def __init__(
        self, detail: str, *, status: int = 0, problem: str = "", field: str = "", retry_after: float = 0
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.problem = problem
        self.field = field
        self.retry_after = retry_after


class InvalidRequestError(AgentError):
    """The request is at fault."""


class UnknownEpisodeError(InvalidRequestError):
    """The episode's token is not one of this deployment."""


class UnauthenticatedError(AgentError):
    """The caller is not known."""


class ForbiddenError(AgentError):
    """The caller is known and may not ask."""


class ConflictError(AgentError):
    """No action may be executed at this step, or not by this replica."""


class StoppedError(AgentError):
    """A person has forbidden to decide; the text says who and why."""


class NotReadyError(AgentError):
    """No decision was taken; a later try may succeed."""


class LimitedError(NotReadyError):
    """More was asked for than is granted; a try after `retry_after` seconds may succeed."""


class AgentFailedError(AgentError):
    """The policy or the server failed."""


class UnreachableError(AgentError):
    """No answer. `decided`: the request may have arrived, so that the decision may have been taken."""

    def __init__(self, detail: str, *, decided: bool) -> None:
        super().__init__(detail)
        self.decided = decided


class EpisodeEndedError(AgentError):
    """There is no next action: the agent ended the episode."""

    def __init__(self, ending: str) -> None:
        super().__init__(f"the agent ended the episode: {ending}", problem="episode-ended")
        self.ending = ending


_BY_PROBLEM: dict[str, type[AgentError]] = {"unknown-episode": UnknownEpisodeError, "stopped": StoppedError}
_BY_STATUS: dict[int, type[AgentError]] = {
    HTTPStatus.UNAUTHORIZED: UnauthenticatedError,
    HTTPStatus.FORBIDDEN: ForbiddenError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.TOO_MANY_REQUESTS: LimitedError,
    HTTPStatus.SERVICE_UNAVAILABLE: NotReadyError,
}


def refusal(status: int, body: bytes, url: str, retry_after: str | None = None) -> AgentError:
    """The error that an answer stands for (RFC 9457); also for answers of proxies, which send no problem."""
    document = _document(body)
    detail = f"HTTP {status} from {url}: {body[:200].decode(errors='replace')}"
    return from_problem({"detail": detail} | document | {"status": status}, _seconds(retry_after))


def from_problem(document: Mapping[str, object], retry_after: float = 0) -> AgentError:
    """The error of a problem document with its `status`."""
    problem = str(document.get("type", "")).rpartition("/")[2]
    status = document.get("status")
    code = status if isinstance(status, int) else int(HTTPStatus.INTERNAL_SERVER_ERROR)
    if problem == "episode-expired":
        return EpisodeEndedError("deadline")
    return _kind(code, problem)(
        str(document.get("detail") or document.get("title") or f"problem {problem}"),
        status=code,
        problem=problem,
        field=str(document.get("field", "")),
        retry_after=retry_after or _seconds(document.get("retryAfter")),
    )


def _kind(status: int, problem: str) -> type[AgentError]:
    other = AgentFailedError if status >= HTTPStatus.INTERNAL_SERVER_ERROR else InvalidRequestError
    return _BY_PROBLEM.get(problem) or _BY_STATUS.get(status, other)


def _document(body: bytes) -> dict[str, object]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(text: object) -> float:
    """A Retry-After in seconds; 0 where it is missing, a date, or nonsense."""
    try:
        seconds = float(str(text))
    except ValueError:
        return 0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0
