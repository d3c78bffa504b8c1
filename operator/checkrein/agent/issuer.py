"""The API server as an OpenID issuer: its name and its keys, fetched with the pod's own account.

Kubernetes, "Service account issuer discovery": every service account may read both addresses.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable

import httpx
import jwt

from checkrein.agent.auth import (
    Caller,
    Keys,
    UnknownKeyError,
    VerifiedTokens,
    authorize,
    authorize_operator,
    authorize_report,
    bearer,
    verify,
)
from checkrein.agent.problems import forbidden, not_ready, unauthenticated
from checkrein.api.deployment import Auth

FIRST_FETCH_SECONDS = 1.0  # between tries while there are no keys at all
REFETCH_SECONDS = 10.0  # between tries for a key that is unknown
log = logging.getLogger(__name__)


async def fetch(client: httpx.AsyncClient) -> Keys:
    """Issuer and keys. Raises httpx.HTTPError, OSError, ValueError, KeyError."""
    configuration = (await client.get("/.well-known/openid-configuration")).raise_for_status().json()
    published = (await client.get("/openid/v1/jwks")).raise_for_status().json()
    keys = jwt.PyJWKSet.from_dict(published).keys
    return Keys(str(configuration["issuer"]), {key.key_id: key for key in keys if key.key_id})


class Gatekeeper:
    """Lets callers in or raises. Keys are fetched when a token names an unknown one, but not for every such token."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        namespace: str,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`clock` measures pauses; `now`, seconds since the epoch, says which tokens are good already."""
        self._client = client
        self._namespace = namespace
        self._clock = clock
        self._now = now
        self._verified = VerifiedTokens()
        self._keys: Keys | None = None
        self._fetched = -REFETCH_SECONDS
        self._lock = asyncio.Lock()

    def known(self, header: str, auth: Auth, peer: str) -> Caller | None:
        """Who asks, as far as that is plain without more work; None: `admit` must find out.

        Where nobody is asked for a token, it is the peer's address. Raises Problem for one that is known and may not.
        """
        if auth.mode == "None":
            return Caller(peer, math.inf)
        caller = self._verified.get(bearer(header))
        if caller is not None:
            authorize(caller, auth, self._namespace)
        return caller

    async def admit(self, header: str, auth: Auth, peer: str) -> Caller:
        """Who asks for decisions. Raises Problem."""
        caller = self.known(header, auth, peer)
        if caller is None:
            caller = await self._identify(header)
            authorize(caller, auth, self._namespace)
        return caller

    async def admit_reporter(self, header: str, auth: Auth) -> Caller:
        """Who tells outcomes: by token in every mode, because a reward that anybody may claim is worth nothing."""
        caller = self._verified.get(bearer(header)) or await self._identify(header)
        authorize_report(caller, auth)
        return caller

    async def admit_operator(self, header: str, operator: str) -> Caller:
        """Who asks for evidence: the account of the operator alone. Raises Problem."""
        if not operator:
            raise forbidden("this replica was not told whose the operator is, so nobody may ask for evidence")
        caller = self._verified.get(bearer(header)) or await self._identify(header)
        authorize_operator(caller, operator)
        return caller

    async def refresh(self) -> None:
        """Fetch the keys, unless that was tried a moment ago. Failure leaves the ones at hand."""
        async with self._lock:
            if self._clock() - self._fetched < (REFETCH_SECONDS if self._keys else FIRST_FETCH_SECONDS):
                return
            self._fetched = self._clock()
            try:
                self._keys = await fetch(self._client)
            except (httpx.HTTPError, OSError, ValueError, KeyError, jwt.PyJWTError) as error:
                log.warning("keys of the API server cannot be fetched: %s: %.200s", type(error).__name__, error)

    async def _identify(self, header: str) -> Caller:
        token = bearer(header)
        caller = await self._verify(token)
        self._verified.put(token, caller)
        return caller

    async def _verify(self, token: str) -> Caller:
        try:
            return verify(token, self._known_keys(), self._now())
        except UnknownKeyError:
            await self.refresh()
        try:
            return verify(token, self._known_keys(), self._now())
        except UnknownKeyError as error:
            if self._keys is None:
                raise not_ready(
                    "the API server's keys are not at hand to verify tokens; try again", "no-keys"
                ) from error
            raise unauthenticated("the token is signed with a key that this cluster does not publish") from error

    def _known_keys(self) -> Keys:
        return self._keys or Keys("", {})
