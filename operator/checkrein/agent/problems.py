"""Every refusal as a JSON problem (RFC 9457): `type`, `title`, `status`, `detail`, and the `field` at fault."""

from __future__ import annotations

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

    def body(self) -> bytes:
        """The problem document."""
        document = {
            "type": TYPE_PREFIX + self.slug,
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": self.detail,
        }
        return msgspec.json.encode(document | ({"field": self.field} if self.field else {}))


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


def not_ready(detail: str, slug: str = "not-ready") -> Problem:
    """No decision was taken, and a later try may succeed."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, slug, detail, headers={"retry-after": "1"})


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
