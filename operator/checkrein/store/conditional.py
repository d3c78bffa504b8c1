"""Create only where nothing is: `If-None-Match: *` for a client that has no parameter for it.

The header is added, unsigned, to the one request that commits the object: a PUT without a query, or the POST that
completes a multipart upload. As `metadata` it would become user metadata and overwrite silently.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import parse_qs, urlsplit

from urllib3 import BaseHTTPResponse, HTTPHeaderDict, PoolManager

_only_if_absent: ContextVar[bool] = ContextVar("only_if_absent", default=False)


@contextmanager
def only_if_absent(wanted: bool = True) -> Iterator[None]:
    """Inside, an object is written only where its key is free; else the server answers PreconditionFailed."""
    token = _only_if_absent.set(wanted)
    try:
        yield
    finally:
        _only_if_absent.reset(token)


def _commits(method: str, url: str) -> bool:
    query = parse_qs(urlsplit(url).query, keep_blank_values=True)
    return (method == "PUT" and not query) or (method == "POST" and "uploadId" in query)


class ConditionalPool(PoolManager):
    """Connection pool that makes writes inside `only_if_absent` conditional."""

    def urlopen(self, method: str, url: str, redirect: bool = True, **kw: Any) -> BaseHTTPResponse:  # type: ignore[override] # urllib3 narrows `redirect` by overload
        """As PoolManager.urlopen."""
        if _only_if_absent.get() and _commits(method, url):
            headers = HTTPHeaderDict(kw.get("headers") or {})
            headers["If-None-Match"] = "*"
            kw["headers"] = headers
        return super().urlopen(method, url, redirect, **kw)
