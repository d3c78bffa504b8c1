"""Whether an agent expects the wrappers at Client that this side runs: they are named by digest in its interface."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx

from checkrein.api.wrappers import Wrapper, client_digest
from checkrein.client import wire
from checkrein.client.errors import AgentError
from checkrein.client.messages import Request
from checkrein.client.patience import Patience
from checkrein.client.wire import Token

DOCUMENT = "/openapi.json"
MEMBER = "x-client-wrappers"
TIMEOUT = 10.0  # seconds of one try


class WrapperMismatchError(ValueError):
    """The agent's policy learnt behind other wrappers: its observations or actions would mean something else."""


async def require_same(url: str, token: Token, wrappers: Sequence[Wrapper], *, wait: float = 30) -> None:
    """Ask the agent which wrappers its callers must run. Raises WrapperMismatchError, AgentError."""
    ours, theirs = client_digest(wrappers), await _expected(url, token, wait)
    if ours != theirs:
        raise WrapperMismatchError(
            f"{url} expects its callers to run {_named(theirs)}, and here are {_named(ours)}; "
            "give spec.wrappers of the RLEnvironment that the policy was trained in"
        )


def _named(digest: str | None) -> str:
    return f"the wrappers with digest {digest}" if digest else "no wrappers"


async def _expected(url: str, token: Token, wait: float) -> str | None:
    request, headers = Request(DOCUMENT, "", repeatable=True), wire.reader(token)
    patience = Patience(request, wait)
    async with httpx.AsyncClient(**wire.http_options(url, TIMEOUT)) as client:
        while True:
            try:
                told = wire.http_answer(await client.get(request.path, headers=headers())).get("info")
                return told.get(MEMBER) if isinstance(told, dict) else None
            except httpx.TransportError as error:
                failure: AgentError = wire.http_failure(error, url)
            except AgentError as error:
                failure = error
            await asyncio.sleep(patience.pause(failure))
