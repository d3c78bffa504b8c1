"""Every refusal as a JSON problem (RFC 9457): `type`, `title`, `status`, `detail`, and the `field` at fault."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus

import msgspec

MEDIA_TYPE = b"application/problem+json"
TYPE_PREFIX = "https://checkrein.dev/problems/"
DETAIL_LIMIT = 512


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """A refusal. `slug` ends the problem's type and labels it in the metrics: a closed set, never from a caller."""

    def __init__(
        self, status: HTTPStatus, slug: str, detail: str, *, field: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.slug = slug
        self.detail = detail[:DETAIL_LIMIT]
        self.field = field
        self.headers = dict(headers or {})

    def body(self, *, open_inference: bool = False) -> bytes:
        """The problem document; for clients of the Open Inference Protocol with the `error` that they look for."""
        document = {
            "type": TYPE_PREFIX + self.slug,
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": self.detail,
        }
        extra = ({"field": self.field} if self.field else {}) | ({"error": self.detail} if open_inference else {})
        return msgspec.json.encode(document | extra)


def invalid(slug: str, detail: str, field: str = "") -> Problem:
    """A request that cannot be understood or answered as it stands."""
    return Problem(HTTPStatus.BAD_REQUEST, slug, detail, field=field)


def not_found(path: str, served: str) -> Problem:
    """No such address."""
    return Problem(HTTPStatus.NOT_FOUND, "no-such-path", f"{path[:128]} is not served here; served: {served}")


def wrong_method(method: str, allowed: str) -> Problem:
    """The address does not know this method."""
    detail = f"method {method} is not allowed here; use {allowed}"
    return Problem(HTTPStatus.METHOD_NOT_ALLOWED, "wrong-method", detail, headers={"allow": allowed})


def too_large(limit: int) -> Problem:
    """The body is longer than any valid request."""
    detail = f"the body is larger than {limit} bytes, more than any request in this observation space needs"
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", detail, headers={"connection": "close"})


def header_too_large(limit: int) -> Problem:
    """The head of a request never ends, or what frames its body is larger than the body."""
    detail = f"request line and headers take more than {limit} bytes"
    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    return Problem(status, "header-too-large", detail, headers={"connection": "close"})


def too_slow(seconds: float) -> Problem:
    """The request did not arrive in time. No decision was taken."""
    detail = f"the request was not complete after {seconds:g} s"
    return Problem(HTTPStatus.REQUEST_TIMEOUT, "too-slow", detail, headers={"connection": "close"})


def overloaded(what: str = "more decisions wait than this replica can take soon") -> Problem:
    """More than this replica takes at once. No decision was taken; a later try, or another replica, may succeed."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", f"{what}; try again", headers={"retry-after": "1"})


def too_many(seconds: float) -> Problem:
    """More decisions than spec.limits grants. No decision was taken; one is granted after this many seconds."""
    wait = max(1, math.ceil(seconds))
    detail = f"more decisions than spec.limits of the AgentDeployment grants; try again in {wait} s"
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, "too-many", detail, headers={"retry-after": str(wait)})


def upgrade_required(protocol: str) -> Problem:
    """The address speaks another protocol."""
    detail = f"this address speaks {protocol} only"
    return Problem(HTTPStatus.UPGRADE_REQUIRED, "upgrade-required", detail, headers={"upgrade": protocol})


def not_acting(version: str, acting: str) -> Problem:
    """A version of a model was asked for that does not decide."""
    detail = (
        f"version {version[:128]} does not act; {acting} does. Ask for that one, or for the model without a version"
    )
    return Problem(HTTPStatus.NOT_FOUND, "not-acting", detail)


def not_ready(detail: str, slug: str = "not-ready") -> Problem:
    """No decision was taken, and a later try may succeed."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, slug, detail, headers={"retry-after": "1"})


def stopped(by: str, reason: str) -> Problem:
    """A person has forbidden to decide (spec.override.mode Stop)."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "stopped", f"{by} has stopped this agent: {reason}")


def shielded(rule: str) -> Problem:
    """No action keeps the rules of the shield here."""
    detail = f"rule {rule} of the shield lets no action through here, and there is no other that may be executed"
    return Problem(HTTPStatus.CONFLICT, "shielded", detail)


def state_elsewhere(why: str) -> Problem:
    """What the episode's network remembers is not here."""
    detail = f"episode: {why}; ask that replica, or start another episode"
    return Problem(HTTPStatus.CONFLICT, "state-elsewhere", detail, field="episode")


def unauthenticated(detail: str) -> Problem:
    """The caller is not known (RFC 6750, section 3)."""
    return Problem(HTTPStatus.UNAUTHORIZED, "unauthenticated", detail, headers={"www-authenticate": "Bearer"})


def forbidden(detail: str) -> Problem:
    """The caller is known and may not ask."""
    return Problem(HTTPStatus.FORBIDDEN, "forbidden", detail)


def policy_failed(detail: str) -> Problem:
    """The policy gave nothing that may be executed."""
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "policy-failed", detail)


def internal() -> Problem:
    """A fault of the server's own; the cause is in its log."""
    detail = "the server failed to answer; its log says why"
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", detail)
