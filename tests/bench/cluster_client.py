"""Patches one AgentDeployment as its administrator, over a connection that is kept."""

from __future__ import annotations

import json
import ssl
from typing import Any

import httpx
from tests.agent.installation import NAME, Deployment

from checkrein.api.meta import API_VERSION


class ClusterClient:
    """Merge patches, as `kubectl patch` sends them."""

    def __init__(self, deployment: Deployment) -> None:
        config = json.loads(deployment.controlplane.kubeconfig.read_text())
        folder = deployment.controlplane.state.path / "pki"
        context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        context.load_cert_chain(folder / "admin.crt", folder / "admin.key")
        self._http = httpx.Client(
            base_url=config["clusters"][0]["cluster"]["server"], verify=context, trust_env=False, timeout=30
        )
        self._path = f"/apis/{API_VERSION}/namespaces/{deployment.namespace}/agentdeployments/{NAME}"

    def patch(self, change: dict[str, Any], subresource: str = "") -> None:
        """Raises httpx.HTTPStatusError with what the API server said."""
        response = self._http.patch(
            self._path + subresource,
            content=json.dumps(change),
            headers={"content-type": "application/merge-patch+json"},
        )
        if response.is_error:
            raise httpx.HTTPStatusError(response.text, request=response.request, response=response)
