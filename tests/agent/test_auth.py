"""Whose tokens are believed, and who of them may ask. What a real API server issues is tried in test_server."""

from __future__ import annotations

import math
import time
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from checkrein.agent.auth import Caller, Keys, UnknownKeyError, VerifiedTokens, authorize, bearer, verify
from checkrein.agent.issuer import REFETCH_SECONDS, Gatekeeper
from checkrein.agent.problems import Problem
from checkrein.api.deployment import Auth

RSA, OTHER, CURVE = (
    rsa.generate_private_key(65537, 2048),
    rsa.generate_private_key(65537, 2048),
    ec.generate_private_key(ec.SECP256R1()),
)
NOW = time.time()
ISSUER = "https://kubernetes.default.svc"
SUBJECT = "system:serviceaccount:games:player"
CLAIMS = {"iss": ISSUER, "sub": SUBJECT, "aud": ["checkrein.dev"], "exp": 4_000_000_000, "iat": 1}


def published(key: Any, key_id: str, algorithm: str) -> dict[str, Any]:
    kind = jwt.algorithms.RSAAlgorithm if algorithm == "RS256" else jwt.algorithms.ECAlgorithm
    return kind.to_jwk(key.public_key(), as_dict=True) | {"kid": key_id, "alg": algorithm, "use": "sig"}


JWKS = {"keys": [published(RSA, "r", "RS256"), published(CURVE, "e", "ES256")]}
KEYS = Keys(ISSUER, {key.key_id: key for key in jwt.PyJWKSet.from_dict(JWKS).keys if key.key_id})


def token(key: Any = RSA, key_id: str = "r", algorithm: str = "RS256", **claims: Any) -> str:
    content = {name: value for name, value in (CLAIMS | claims).items() if value is not None}
    return jwt.encode(content, key, algorithm, headers={"kid": key_id})


def unsigned() -> str:
    return jwt.encode(CLAIMS, "", "none", headers={"kid": "r"})


@pytest.mark.parametrize(
    "good",
    [
        pytest.param(token(), id="RSA"),
        pytest.param(token(CURVE, "e", "ES256"), id="elliptic curve"),
        pytest.param(token(aud="checkrein.dev"), id="audience as a string"),
        pytest.param(token(aud=["other", "checkrein.dev"]), id="one audience of several"),
    ],
)
def test_a_good_token_names_its_holder(good: str) -> None:
    assert verify(good, KEYS, NOW) == Caller(SUBJECT, 4_000_000_000)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        pytest.param(token(aud=["kubernetes"]), "audience", id="another audience"),
        pytest.param(token(aud=None), "aud", id="no audience"),
        pytest.param(token(exp=time.time() - 60), "expired", id="expired"),
        pytest.param(token(exp=None), "exp", id="without an end"),
        pytest.param(token(nbf=4_000_000_000), "not yet valid", id="not yet valid"),
        pytest.param(token(iss="https://elsewhere"), "issuer", id="another issuer"),
        pytest.param(token(sub=None), "sub", id="no subject"),
        pytest.param(token(OTHER), "verif", id="signed by somebody else under a known key id"),
        pytest.param(token(b"k" * 32, algorithm="HS256"), "verif", id="a symmetric signature"),
        pytest.param(unsigned(), "verif", id="no signature"),
        pytest.param("a.b.c", "verif", id="no JWT"),
        pytest.param("", "verif", id="empty"),
        pytest.param("ünïcode", "verif", id="not ASCII"),
    ],
)
def test_a_bad_token_is_refused(bad: str, why: str) -> None:
    with pytest.raises(Problem, match=why) as caught:
        verify(bad, KEYS, NOW)
    assert (caught.value.status, caught.value.headers) == (401, {"www-authenticate": "Bearer"})


def test_a_token_with_an_unknown_key_is_told_apart() -> None:
    with pytest.raises(UnknownKeyError):
        verify(token(OTHER, "new"), KEYS, NOW)


@pytest.mark.parametrize("header", ["", "Basic abc", "Bearer", "Bearer " + "x" * 20_000])
def test_only_bearer_tokens_of_a_sane_length_are_looked_at(header: str) -> None:
    with pytest.raises(Problem):
        bearer(header)
    assert bearer("bearer abc ") == "abc"


@pytest.mark.parametrize(
    ("subject", "callers", "allowed"),
    [
        pytest.param(SUBJECT, [], True, id="an account of this namespace"),
        pytest.param("system:serviceaccount:games-2:player", [], False, id="of a namespace that begins alike"),
        pytest.param("system:serviceaccount:other:player", [], False, id="of another namespace"),
        pytest.param("system:node:games", [], False, id="no service account"),
        pytest.param("system:serviceaccount:other:player", ["system:serviceaccount:other:player"], True, id="listed"),
        pytest.param(SUBJECT, ["system:serviceaccount:other:player"], False, id="a list replaces the namespace's own"),
    ],
)
def test_authorize(subject: str, callers: list[str], allowed: bool) -> None:
    def ask() -> None:
        authorize(Caller(subject, 0), Auth(callers=callers), "games")

    if allowed:
        ask()
    else:
        with pytest.raises(Problem) as caught:
            ask()
        assert caught.value.status == 403


def test_verified_tokens_are_forgotten_at_their_end_and_when_there_are_too_many() -> None:
    now = 100.0
    verified = VerifiedTokens(clock=lambda: now, size=2)
    verified.put("a", Caller("a", 200))
    verified.put("b", Caller("b", 300))
    assert verified.get("a") == Caller("a", 200)
    verified.put("c", Caller("c", 300))
    assert (verified.get("b"), verified.get("a")) == (None, Caller("a", 200))
    now = 200.0
    assert (verified.get("a"), verified.get("c")) == (None, Caller("c", 300))


class ApiServer:
    """The two addresses of issuer discovery; they can be away."""

    def __init__(self) -> None:
        self.jwks: dict[str, Any] = JWKS
        self.fetched = 0
        self.away = False
        self.now = 0.0

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("refused")
        if request.url.path == "/openid/v1/jwks":
            self.fetched += 1
            return httpx.Response(200, json=self.jwks)
        return httpx.Response(200, json={"issuer": ISSUER})

    def gatekeeper(self) -> Gatekeeper:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self.answer), base_url="https://api")
        return Gatekeeper(client, "games", clock=lambda: self.now)


async def status(gatekeeper: Gatekeeper, presented: str, auth: Auth | None = None, *, reports: bool = False) -> int:
    header, rules = f"Bearer {presented}", auth or Auth()
    try:
        await (gatekeeper.admit_reporter(header, rules) if reports else gatekeeper.admit(header, rules, "10.0.0.7"))
    except Problem as problem:
        return problem.status
    return 200


async def test_a_new_key_is_fetched_and_unknown_ones_do_not_make_it_fetch_at_every_request() -> None:
    server = ApiServer()
    gatekeeper = server.gatekeeper()
    assert [await status(gatekeeper, token()) for _ in range(3)] == [200, 200, 200]
    server.jwks = {"keys": [*JWKS["keys"], published(OTHER, "new", "RS256")]}
    assert [await status(gatekeeper, token(OTHER, "new")) for _ in range(3)] == [401, 401, 401]
    assert server.fetched == 1
    server.now = REFETCH_SECONDS
    assert await status(gatekeeper, token(OTHER, "new")) == 200
    assert server.fetched == 2


async def test_without_keys_callers_are_told_to_come_back_and_with_old_ones_they_pass() -> None:
    server = ApiServer()
    gatekeeper = server.gatekeeper()
    server.away = True
    assert await status(gatekeeper, token()) == 503
    server.away, server.now = False, REFETCH_SECONDS
    assert await status(gatekeeper, token()) == 200
    server.away, server.now = True, 2 * REFETCH_SECONDS
    assert await status(gatekeeper, token(jti="fresh")) == 200


async def test_a_known_token_is_judged_anew_when_the_rules_change() -> None:
    gatekeeper = ApiServer().gatekeeper()
    assert await status(gatekeeper, token()) == 200
    assert await status(gatekeeper, token(), Auth(callers=["system:serviceaccount:other:player"])) == 403
    assert await status(gatekeeper, "", Auth(mode="None")) == 200


async def test_a_caller_goes_by_account_or_else_by_address() -> None:
    gatekeeper = ApiServer().gatekeeper()
    header = f"Bearer {token()}"
    assert gatekeeper.known(header, Auth(), "10.0.0.7") is None
    assert await gatekeeper.admit(header, Auth(), "10.0.0.7") == Caller(SUBJECT, 4_000_000_000)
    assert gatekeeper.known(header, Auth(), "10.0.0.7") == Caller(SUBJECT, 4_000_000_000)
    assert gatekeeper.known(header, Auth(mode="None"), "10.0.0.7") == Caller("10.0.0.7", math.inf)


@pytest.mark.parametrize("mode", ["ServiceAccount", "None"])
@pytest.mark.parametrize(
    ("reporters", "presented", "wanted"),
    [
        pytest.param([SUBJECT], token(), 200, id="a reporter"),
        pytest.param([], token(), 403, id="a caller that is no reporter"),
        pytest.param([SUBJECT], token(sub="system:serviceaccount:games:other"), 403, id="somebody else"),
        pytest.param([SUBJECT], "", 401, id="nobody"),
        pytest.param([SUBJECT], token(OTHER), 401, id="a forged token"),
    ],
)
async def test_outcomes_are_told_by_reporters_alone_in_every_mode(
    mode: Any, reporters: list[str], presented: str, wanted: int
) -> None:
    gatekeeper = ApiServer().gatekeeper()
    rules = Auth(mode=mode, reporters=reporters)
    assert [await status(gatekeeper, presented, rules, reports=True) for _ in range(2)] == [wanted] * 2
