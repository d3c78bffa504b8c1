"""The edge to the API server: a few verbs on raw objects, and errors of our own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
from kubernetes.aio import client

from checkrein.api.meta import bounded
from checkrein.control.kinds import KINDS, Kind

Raw = dict[str, Any]
FIELD_MANAGER = "checkrein"
TIMEOUT_SECONDS = 30
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


class ApiError(Exception):
    """The API server refused, or did not answer (status 0)."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = bounded(message)

    @property
    def temporary(self) -> bool:
        """No answer, a conflict, too much load or a fault of the server: the same request may pass later."""
        return self.status in (0, 409, 429) or self.status >= 500


class NotLeading(ApiError):  # noqa: N818 - says what happened
    """This process may not write (any more): another one may lead."""

    def __init__(self) -> None:
        super().__init__(0, "NotLeading", "another operator may lead; nothing is written")


class NameTaken(ApiError):  # noqa: N818 - says what happened
    """An object of that name exists and is somebody else's, if only an earlier namesake's."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(409, "NameTaken", f"{kind} {name} exists and belongs to something else")

    @property
    def temporary(self) -> bool:
        """People should know, though it may go away."""
        return False


class Cluster:
    """Verbs on objects, by kind, namespace and name."""

    def __init__(self, api: client.ApiClient, fence: Callable[[], float] | None = None) -> None:
        """`fence` gives the seconds for which this process may still write, or raises NotLeading."""
        self._api = api
        self._fence = fence

    async def get(self, kind: str, namespace: str, name: str) -> Raw | None:
        """The object as it is now; None where there is none."""
        try:
            return await self._call("GET", KINDS[kind].path(namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def list(self, kind: Kind, label_selector: str = "", namespace: str = "") -> list[Raw]:
        """All objects of the kind, in one namespace or all, in pages."""
        items: list[Raw] = []
        query = {"limit": "500", **({"labelSelector": label_selector} if label_selector else {})}
        while True:
            page = await self._call("GET", kind.path(namespace), query=query)
            items += page["items"]
            token = page["metadata"].get("continue")
            if not token:
                return items
            query["continue"] = token

    async def create(self, obj: Mapping[str, Any]) -> None:
        """Create; where it exists, meet it. Raises NameTaken where it is not this owner's, ApiError."""
        kind, meta = KINDS[obj["kind"]], obj["metadata"]
        try:
            await self._call(
                "POST", kind.path(meta["namespace"]), query={"fieldManager": FIELD_MANAGER}, body=dict(obj)
            )
        except ApiError as error:
            if error.status != 409:
                raise
            existing = await self.get(kind.kind, meta["namespace"], meta["name"])
            if existing is None:  # it went away in between: the next pass creates it
                raise
            if not is_same_work(existing, obj):
                raise NameTaken(kind.kind, meta["name"]) from error

    async def apply(self, obj: Mapping[str, Any]) -> None:
        """Server-side apply of a whole object. Raises NameTaken where it is not this owner's, ApiError."""
        kind, meta = KINDS[obj["kind"]], obj["metadata"]
        existing = await self.get(kind.kind, meta["namespace"], meta["name"])
        if existing and not is_same_work(existing, obj):
            raise NameTaken(kind.kind, meta["name"])
        await self._apply(kind.path(meta["namespace"], meta["name"]), dict(obj))

    async def make(self, obj: Mapping[str, Any]) -> Raw:
        """Create; an existing one is an error (ApiError 409)."""
        kind, meta = KINDS[obj["kind"]], obj["metadata"]
        return await self._call("POST", kind.path(meta["namespace"]), body=dict(obj))

    async def replace(self, obj: Mapping[str, Any]) -> Raw:
        """Put it in the place of the version that was read (else ApiError 409)."""
        kind, meta = KINDS[obj["kind"]], obj["metadata"]
        return await self._call("PUT", kind.path(meta["namespace"], meta["name"]), body=dict(obj))

    async def merge(self, obj: Mapping[str, Any], change: Raw) -> None:
        """Changes these fields (None takes one out) of the version of the object that was read (else ApiError 409)."""
        kind, meta = KINDS[obj["kind"]], obj["metadata"]
        body = {**change, "metadata": {"resourceVersion": meta["resourceVersion"]}}
        query = {"fieldManager": FIELD_MANAGER}
        path = kind.path(meta["namespace"], meta["name"])
        await self._call("PATCH", path, query=query, body=body, content_type=MERGE)

    async def apply_status(self, obj: Mapping[str, Any], status: Raw) -> Raw:
        """Server-side apply of the status, on the version of the object that it was planned on (else ApiError 409).

        Returns the object as it is now.
        """
        kind, meta = KINDS[obj["kind"]], obj["metadata"]
        body = {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {k: meta[k] for k in ("name", "namespace", "resourceVersion")},
            "status": without_empty_maps(status),
        }
        return await self._apply(kind.path(meta["namespace"], meta["name"], "status"), body)

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete with what it owns; gone already is gone."""
        try:
            path = KINDS[kind].path(namespace, name)
            await self._call("DELETE", path, body={"propagationPolicy": "Background"})
        except ApiError as error:
            if error.status != 404:
                raise

    async def _apply(self, path: str, body: Raw) -> Raw:
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._call("PATCH", path, query=query, body=body, content_type=APPLY)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Raw | None = None,
        content_type: str = "application/json",
    ) -> Raw:
        seconds = TIMEOUT_SECONDS if method == "GET" or self._fence is None else min(TIMEOUT_SECONDS, self._fence())
        headers = {"Accept": "application/json", "Content-Type": content_type}
        request = await self._api.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            response = await self._api.call_api(*request, _request_timeout=seconds)
            data: bytes = await response.read()  # type: ignore[no-untyped-call]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, "Unreachable", f"{type(error).__name__}: {error}") from error
        return _parse(response.status, data)


def _parse(status: int, data: bytes) -> Raw:
    try:
        body: Raw = json.loads(data)
    except ValueError:
        body = {"message": data[:200].decode(errors="replace")}
    if status >= 400:
        raise ApiError(status, body.get("reason", "Unknown"), body.get("message", "no message"))
    return body


def without_empty_maps(value: Any) -> Any:
    """Server-side apply makes null of a map that lost its last key, and the schema refuses null: leave it out."""
    if isinstance(value, dict):
        return {key: without_empty_maps(member) for key, member in value.items() if member != {}}
    return [without_empty_maps(member) for member in value] if isinstance(value, list) else value


def is_same_work(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Does the existing object come from the same owner, or for one without an owner, say the same?"""
    owners = wanted["metadata"].get("ownerReferences")
    if owners:
        return owners[0]["uid"] in {o["uid"] for o in existing["metadata"].get("ownerReferences", ())}
    provenance = wanted["spec"]["provenance"]
    return bool(existing["spec"]["provenance"]["uid"] == provenance["uid"])
