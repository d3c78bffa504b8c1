"""From the name of a PolicyVersion to what it takes to load it, read straight from the API server.

The operator puts the stable policy and the candidate into the status. A fallback and a pinned version the replica looks
up by itself, so that an override needs nobody else.
"""

from __future__ import annotations

import httpx
from pydantic import ValidationError

from checkrein.agent.policies import LoadError
from checkrein.api.deployment import PolicyPointer
from checkrein.api.meta import API_VERSION, bounded
from checkrein.api.policy import PolicyVersion

NOT_FOUND = 404


class Resolver:
    """Reads PolicyVersions of one namespace."""

    def __init__(self, client: httpx.AsyncClient, namespace: str) -> None:
        self._client = client
        self._path = f"/apis/{API_VERSION}/namespaces/{namespace}/policyversions"

    async def pointer(self, name: str) -> PolicyPointer:
        """What `name` points to. Raises LoadError, never a permanent one: what is missing may be made."""
        try:
            response = await self._client.get(f"{self._path}/{name}")
            if response.status_code == NOT_FOUND:
                raise LoadError("PolicyVersionNotFound", f"there is no PolicyVersion {name!r}", permanent=False)
            version = PolicyVersion.model_validate(response.raise_for_status().json())
        except (httpx.HTTPError, OSError, ValueError, ValidationError) as error:
            message = bounded(f"PolicyVersion {name} cannot be read: {type(error).__name__}: {error}", 512)
            raise LoadError("PolicyVersionUnreadable", message, permanent=False) from error
        return PolicyPointer(name=name, artifact=version.spec.artifact, interface=version.spec.interface)
