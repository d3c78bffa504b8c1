"""What the synchronous and the asynchronous transports have in common: options, and what answers and failures mean."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from websockets.exceptions import InvalidStatus, WebSocketException

from checkrein.client.errors import AgentError, UnreachableError, from_problem, refusal

Token = Callable[[], str] | str | Path | None

STREAM = "/v1/stream"
KEEP_ALIVE_SECONDS = 30  # shorter than the agent's: a request into a connection that closes would be in doubt
CONNECTIONS = 100
PROBLEM_TYPE = "https://checkrein.dev/problems/"
_HTTP_HEADERS = {"content-type": "application/json"}

Failure = (OSError, TimeoutError, WebSocketException)  # of a stream: what may happen to one at any moment


def reader(token: Token) -> Callable[[], dict[str, str]]:
    """Gives the headers that say who asks. A file is read each time: the kubelet renews it."""
    if token is None:
        return dict
    if callable(token):
        return lambda: {"authorization": f"Bearer {token()}"}
    path = Path(token)
    return lambda: {"authorization": f"Bearer {path.read_text().strip()}"}


def http_options(url: str, timeout: float) -> dict[str, Any]:
    """For httpx's clients of both kinds. Proxies of the environment are not for talking to a Service.

    Raises ValueError for an address that is none of HTTP.
    """
    _parts(url)
    limits = httpx.Limits(max_connections=CONNECTIONS, keepalive_expiry=KEEP_ALIVE_SECONDS)
    return {"base_url": url, "timeout": timeout, "trust_env": False, "limits": limits, "headers": _HTTP_HEADERS}


def http_answer(response: httpx.Response) -> dict[str, Any]:
    """The answer's JSON. Raises AgentError for a refusal."""
    if not response.is_success:
        raise refusal(response.status_code, response.content, str(response.url), response.headers.get("retry-after"))
    return _object(response.content, str(response.url)) if response.content else {}


def http_failure(error: httpx.TransportError, url: str) -> UnreachableError:
    """Why there was no answer."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return UnreachableError(f"{url} cannot be reached: {error}", decided=False)
    return UnreachableError(f"{url} gave no answer: {type(error).__name__}: {error}", decided=True)


def stream_url(url: str) -> str:
    """The WebSocket's address. Raises ValueError for an address that is none of HTTP."""
    scheme, rest = _parts(url)
    return f"{'wss' if scheme == 'https' else 'ws'}://{rest.rstrip('/')}{STREAM}"


def stream_options(headers: dict[str, str], timeout: float) -> dict[str, Any]:
    """For `connect` of both kinds. Small messages over a near network: compression would cost more than it saves."""
    return {
        "additional_headers": headers,
        "open_timeout": timeout,
        "close_timeout": 1,
        "compression": None,
        "proxy": None,
    }


def stream_answer(message: str | bytes, url: str) -> dict[str, Any]:
    """The answer's JSON. Raises AgentError for a problem."""
    answer = _object(message, url)
    if "status" in answer and str(answer.get("type", "")).startswith(PROBLEM_TYPE):
        raise from_problem(answer)
    return answer


def stream_refusal(error: Exception, url: str) -> AgentError:
    """Why the stream could not be opened: nothing was asked yet."""
    if isinstance(error, InvalidStatus):
        answer = error.response
        return refusal(answer.status_code, bytes(answer.body or b""), url, answer.headers.get("retry-after"))
    return UnreachableError(f"{url} cannot be reached: {error or type(error).__name__}", decided=False)


def stream_failure(error: Exception, url: str) -> UnreachableError:
    """Why an open stream gave no answer."""
    return UnreachableError(f"{url} gave no answer: {type(error).__name__}: {error}", decided=True)


def _parts(url: str) -> tuple[str, str]:
    scheme, _, rest = url.partition("://")
    if scheme not in ("http", "https") or not rest:
        raise ValueError(f"the agent's address {url!r} must start with http:// or https://")
    return scheme, rest


def _object(content: str | bytes, url: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise AgentError(f"{url} answered with something else than a JSON object: {content[:200]!r}")
    return found
