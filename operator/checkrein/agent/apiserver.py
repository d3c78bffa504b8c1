"""HTTP to the API server with the pod's own account. The two files are renewed while the pod runs."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import httpx

CONNECT_SECONDS = 5.0
READ_SECONDS = 15.0


class FileToken(httpx.Auth):
    """The bearer token in a file, read for each request: it lives for an hour or so and is replaced in place."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """httpx.Auth's hook. Raises OSError where the file cannot be read."""
        request.headers["authorization"] = f"Bearer {self._path.read_text().strip()}"
        yield request

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """The same: one short local file."""
        for prepared in self.auth_flow(request):
            yield prepared


def connect(address: str, service_account: Path) -> httpx.AsyncClient:
    """A client for the API server at `address`. Raises OSError where the account's CA file cannot be read."""
    context = ssl.create_default_context(cafile=str(service_account / "ca.crt"))
    return httpx.AsyncClient(
        base_url=address,
        verify=context,
        auth=FileToken(service_account / "token"),
        timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        trust_env=False,
    )
