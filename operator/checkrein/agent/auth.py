"""Who may ask: service account tokens, verified offline against the API server's published keys.

Offline means that a token of a deleted pod or account is good until it expires; keep `expirationSeconds` short.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jwt

from checkrein.agent.problems import forbidden, unauthenticated
from checkrein.api.deployment import Auth
from checkrein.api.tasks import AUDIENCE

ALGORITHMS = ["RS256", "ES256", "ES384", "ES512"]  # what kube-apiserver signs with; never a symmetric one
SCHEME = "bearer "
TOKEN_LIMIT = 16 * 1024
CACHE_SIZE = 4096
LEEWAY_SECONDS = 5

_MEND = f"mount a projected serviceAccountToken with audience {AUDIENCE}"


@dataclass(frozen=True)
class Keys:
    """The API server's issuer and its public keys by key id."""

    issuer: str
    by_id: Mapping[str, jwt.PyJWK]


@dataclass(frozen=True)
class Caller:
    """Who asks: the holder of a verified token, and until when (seconds since the epoch), or else an address."""

    subject: str
    expires: float


class UnknownKeyError(Exception):
    """Signed with a key that is not at hand: it may be new."""


def bearer(header: str) -> str:
    """The token in an Authorization header. Raises Problem."""
    if header[: len(SCHEME)].lower() != SCHEME:
        raise unauthenticated(f"send Authorization: Bearer with a service account token; {_MEND}")
    if len(header) > TOKEN_LIMIT:
        raise unauthenticated("the token is too long to be one of a service account")
    return header[len(SCHEME) :].strip()


def verify(token: str, keys: Keys, now: float) -> Caller:
    """Who holds this token (RFC 7519, section 7.2). Raises Problem, UnknownKeyError.

    It ends by the wall clock, which may recover from a leap. Whether it is good already is asked of `now`, a clock that
    never goes back: where the wall clock was set back, whoever comes with a fresh token must still be let in.
    """
    try:
        key_id = str(jwt.get_unverified_header(token).get("kid", ""))
        if key_id not in keys.by_id:
            raise UnknownKeyError(key_id)
        claims = jwt.decode(
            token,
            keys.by_id[key_id],
            algorithms=ALGORITHMS,
            audience=AUDIENCE,
            issuer=keys.issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iss", "sub", "aud"], "verify_nbf": False, "verify_iat": False},
        )
        if float(claims.get("nbf", 0)) > now + LEEWAY_SECONDS:
            raise jwt.ImmatureSignatureError("the token is not yet valid")
    except jwt.ExpiredSignatureError as error:
        raise unauthenticated("the token has expired; read it anew from its file") from error
    except jwt.InvalidAudienceError as error:
        raise unauthenticated(f"the token is for another audience; {_MEND}") from error
    except jwt.PyJWTError as error:
        raise unauthenticated(f"the token cannot be verified ({error}); {_MEND}") from error
    return Caller(claims["sub"], float(claims["exp"]))


def authorize(caller: Caller, auth: Auth, namespace: str) -> None:
    """Whether this caller may ask here. Raises Problem."""
    if auth.callers:
        if caller.subject not in auth.callers:
            raise forbidden(f"{caller.subject[:320]} is not in spec.auth.callers")
    elif not caller.subject.startswith(f"system:serviceaccount:{namespace}:"):
        raise forbidden(f"{caller.subject[:320]} is not of namespace {namespace}; name it in spec.auth.callers")


def authorize_report(caller: Caller, auth: Auth) -> None:
    """Whether this caller may tell outcomes here. Raises Problem."""
    if caller.subject not in auth.reporters:
        raise forbidden(f"{caller.subject[:320]} is not in spec.auth.reporters, so it may not tell outcomes")


def authorize_operator(caller: Caller, operator: str) -> None:
    """Whether this caller may ask for evidence. Raises Problem."""
    if caller.subject != operator:
        raise forbidden(f"{caller.subject[:320]} is not the operator, so it may not ask for evidence")


class VerifiedTokens:
    """Verified tokens until they expire, so that a caller's signature is checked once: least recently used go first.

    Kept by hash: a dump of the process must not hold tokens that work elsewhere.
    """

    def __init__(self, clock: Callable[[], float] = time.time, size: int = CACHE_SIZE) -> None:
        self._clock = clock
        self._size = size
        self._callers: OrderedDict[bytes, Caller] = OrderedDict()

    def get(self, token: str) -> Caller | None:
        """The holder of a token that was verified and has not expired since."""
        digest = _digest(token)
        caller = self._callers.get(digest)
        if caller is None:
            return None
        if caller.expires <= self._clock():
            del self._callers[digest]
            return None
        self._callers.move_to_end(digest)
        return caller

    def put(self, token: str, caller: Caller) -> None:
        """Remember a verified token."""
        self._callers[_digest(token)] = caller
        if len(self._callers) > self._size:
            self._callers.popitem(last=False)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
