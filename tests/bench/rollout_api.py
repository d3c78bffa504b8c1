"""An API server without the start of a program for each word: `kubectl proxy`, and HTTP over a connection kept open."""

from __future__ import annotations

import json
from typing import Any

import httpx
from tests.cluster.cluster import Cluster
from tests.cluster.processes import State, free_port


class Api:
    """Reads objects and sends merge patches, as the user of the cluster's kubeconfig."""

    def __init__(self, state: State, cluster: Cluster) -> None:
        port = free_port()
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30)
        self._process = state.start("kubectl-proxy", [*cluster.kubectl.command, "proxy", f"--port={port}"])
        self._process.wait_ready(self._ready)

    def get(self, path: str) -> dict[str, Any]:
        """One object. Raises httpx.HTTPStatusError."""
        return self._told(self._http.get(path))

    def patch(self, path: str, change: dict[str, Any]) -> None:
        """Raises httpx.HTTPStatusError with what the API server said."""
        headers = {"content-type": "application/merge-patch+json"}
        self._told(self._http.patch(path, content=json.dumps(change), headers=headers))

    def close(self) -> None:
        """Ends it."""
        self._http.close()
        self._process.stop()

    def _told(self, response: httpx.Response) -> dict[str, Any]:
        if response.is_error:
            raise httpx.HTTPStatusError(response.text, request=response.request, response=response)
        told: dict[str, Any] = response.json()
        return told

    def _ready(self) -> bool:
        try:
            return self._http.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False
