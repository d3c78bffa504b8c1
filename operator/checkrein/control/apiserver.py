"""HTTP to the API server, as whoever this process is. Requests and watches log in the same way."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import kopf

TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


def login(**_: Any) -> kopf.ConnectionInfo:
    """In a pod its service account, elsewhere the kubeconfig. Raises kopf.LoginError, OSError."""
    settings: Any = kopf.OperatorSettings()
    if account := kopf.login_with_service_account(settings=settings):
        return dataclasses.replace(account, server=address_in_pod() or account.server)
    if person := kopf.login_with_kubeconfig(settings=settings):
        return person
    raise kopf.LoginError("there is neither a service account nor a kubeconfig: set KUBECONFIG")


def address_in_pod() -> str:
    """Where every pod is told that the API server is: it takes no name service. Empty elsewhere."""
    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
    return f"https://{f'[{host}]' if ':' in host else host}:{port}" if host and port else ""


class ApiServer:
    """A session of requests."""

    def __init__(self, session: aiohttp.ClientSession, info: kopf.ConnectionInfo) -> None:
        self._session = session
        self._info = info

    async def send(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: Any, seconds: float
    ) -> tuple[int, bytes]:
        """Status and content of the answer. Raises aiohttp.ClientError, TimeoutError, OSError."""
        data = None if body is None else json.dumps(body)
        timeout = aiohttp.ClientTimeout(total=seconds)
        address = self._info.server.rstrip("/") + path
        said = {**headers, **self._proof()}
        async with self._session.request(
            method, address, params=query, headers=said, data=data, timeout=timeout, proxy=self._info.proxy_url
        ) as response:
            return response.status, await response.read()

    def _proof(self) -> Mapping[str, str]:
        """A service account's token lives for an hour or so, and is renewed in place."""
        if self._info.token and TOKEN.exists():
            return {"Authorization": f"Bearer {TOKEN.read_text().strip()}"}
        return self._info.as_http_headers()


@asynccontextmanager
async def connected(info: kopf.ConnectionInfo | None = None) -> AsyncIterator[ApiServer]:
    """A session, closed when left; without `info` as whoever this process is. Raises kopf.LoginError, OSError."""
    info = info or login()
    connector = aiohttp.TCPConnector(ssl=info.as_ssl_context())
    async with aiohttp.ClientSession(connector=connector) as session:
        yield ApiServer(session, info)
