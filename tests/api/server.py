"""Requests to a real API server as any user, and its refusals as data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubernetes import config

from checkrein.api.crds import RESOURCES
from checkrein.api.meta import API_VERSION

Raw = dict[str, Any]
PLURALS = {resource.kind: resource.plural for resource in RESOURCES}
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


class Refused(Exception):  # noqa: N818 - says what happened
    """The API server said no: its HTTP status, its message, and the fields that it blamed."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        self.status = status
        self.message: str = body.get("message", "")
        self.fields = {cause.get("field", "") for cause in body.get("details", {}).get("causes", ())}
        super().__init__(f"{status} {self.message}")


class Server:
    """An API server as one user sees it."""

    def __init__(self, kubeconfig: Path, user: str = "", group: str = "") -> None:
        self._kubeconfig = kubeconfig
        self._api = config.new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call]
        asked = {"Impersonate-User": user, "Impersonate-Group": group}
        self._as = {header: value for header, value in asked.items() if value}

    def as_user(self, user: str, group: str = "") -> Server:
        """The same server for another user."""
        return Server(self._kubeconfig, user, group)

    def create(self, obj: Raw, *, dry_run: bool = False) -> Raw:
        """Creates it, strictly. Raises Refused."""
        return self.send("POST", _path(obj, named=False), obj, dry_run=dry_run)

    def patch(self, obj: Raw, change: Raw, subresource: str = "") -> Raw:
        """Merges a change into it. Raises Refused."""
        return self.send("PATCH", _path(obj, subresource=subresource), change, content_type=MERGE)

    def replace(self, obj: Raw) -> Raw:
        """Puts it in the place of what is there. Raises Refused."""
        return self.send("PUT", _path(obj), obj)

    def get(self, obj: Raw, subresource: str = "") -> Raw:
        """As it is now. Raises Refused."""
        return self.send("GET", _path(obj, subresource=subresource))

    def delete(self, obj: Raw, *, dry_run: bool = False) -> Raw:
        """Deletes it. Raises Refused."""
        return self.send("DELETE", _path(obj), dry_run=dry_run)

    def send(
        self,
        method: str,
        path: str,
        body: Raw | None = None,
        *,
        content_type: str = "application/json",
        dry_run: bool = False,
    ) -> Raw:
        """One request; unknown fields are errors. Raises Refused."""
        query = {"dryRun": "All"} if dry_run else {}
        if body is not None:
            query["fieldValidation"] = "Strict"
        if content_type == APPLY:
            query |= {"fieldManager": "tests", "force": "true"}
        headers = {"Accept": "application/json", "Content-Type": content_type, **self._as}
        request = self._api.param_serialize(
            method, path, query_params=list(query.items()), header_params=headers, body=body
        )
        response = self._api.call_api(*request, _request_timeout=30)
        content = response.read()
        # Of a path that it does not serve it says so in plain text.
        answer: Raw = json.loads(content) if content.startswith(b"{") else {"message": content.decode()}
        if response.status >= 400:
            raise Refused(response.status, answer)
        return answer


def _path(obj: Raw, *, named: bool = True, subresource: str = "") -> str:
    meta = obj["metadata"]
    parts = [f"/apis/{API_VERSION}/namespaces/{meta.get('namespace', 'default')}", PLURALS[obj["kind"]]]
    return "/".join([*parts, *([meta["name"]] if named else []), *([subresource] if subresource else [])])
