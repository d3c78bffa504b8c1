"""The edge to the API server: a few verbs on raw objects, and errors of our own."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import aiohttp
import msgspec

from checkrein.api.meta import bounded
from checkrein.control import metrics
from checkrein.control.apiserver import ApiServer
from checkrein.control.cache import version_of
from checkrein.control.children import held_by
from checkrein.control.kinds import KINDS, Kind

Raw = dict[str, Any]
T_co = TypeVar("T_co", covariant=True)
FIELD_MANAGER = "checkrein"
TIMEOUT_SECONDS = 30
PAGE = 100
"""Objects that a list holds at once: a whole kind's, as text and parsed, would be more than all that is kept."""
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
TERMINATING = "NamespaceTerminating"  # a cause that says more than its reason, Forbidden
NAMES_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class Listed(msgspec.Struct, rename="camel"):
    """What a list of metadata says of one object, as far as it is read: most of such a list is managedFields."""

    name: str
    uid: str
    resource_version: str
    namespace: str = ""


class _Item(msgspec.Struct):
    metadata: Listed


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str


class _Metadata(msgspec.Struct):
    metadata: _ListMeta
    items: list[_Item]


@dataclass(frozen=True)
class Page(Generic[T_co]):
    """A list, or a part of one, and the version at which it is true: another page tells of the same."""

    items: Sequence[T_co]
    version: int


class ApiError(Exception):
    """The API server refused, or did not answer (status 0)."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {bounded(message)}")
        self.status = status
        self.reason = reason
        self.message = bounded(message)

    @property
    def temporary(self) -> bool:
        """No answer, a conflict, a list whose next page has expired, too much load or a fault of the server.

        The same may pass later, from its start.
        """
        return self.status in (0, 409, 410, 429) or self.status >= 500


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


class BeingDeleted(NameTaken):
    """An object of that name is on its way out, and is kept from going."""

    def __init__(self, kind: str, name: str, held: str) -> None:
        ApiError.__init__(self, 409, "BeingDeleted", f"{kind} {name} {held}")


class Cluster:
    """Verbs on objects, by kind, namespace and name."""

    def __init__(self, api: ApiServer, fence: Callable[[], float] | None = None) -> None:
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

    async def list(
        self, kind: Kind, label_selector: str = "", namespace: str = "", field_selector: str = ""
    ) -> Sequence[Raw]:
        """All objects of the kind, in one namespace or all."""
        pages = self.pages(kind, label_selector, namespace, field_selector)
        return [item async for page in pages for item in page.items]

    async def pages(
        self, kind: Kind, label_selector: str = "", namespace: str = "", field_selector: str = ""
    ) -> AsyncIterator[Page[Raw]]:
        """The same page by page: nobody has to hold all of them at once."""
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        query = {"limit": str(PAGE), **{name: selector for name, selector in selectors.items() if selector}}
        while True:
            page = await self._call("GET", kind.path(namespace), query=query)
            yield Page(page["items"], version_of(page))
            if not (token := page["metadata"].get("continue")):
                return
            query["continue"] = token

    async def list_metadata(self, kind: Kind, label_selector: str = "", namespace: str = "") -> Page[Listed]:
        """Who is there, in one namespace or all, in one consistent list. Newer API servers answer it from memory."""
        query = {"labelSelector": label_selector} if label_selector else {}
        data = await self._send("GET", kind.path(namespace), query=query, accept=NAMES_ONLY)
        found = msgspec.json.decode(data, type=_Metadata)
        return Page([item.metadata for item in found.items], int(found.metadata.resource_version))

    async def create(self, obj: Mapping[str, Any]) -> Raw:
        """Create; where it exists, meet it. The object that there is. Raises NameTaken, BeingDeleted, ApiError."""
        kind, meta = KINDS[obj["kind"]], obj["metadata"]
        try:
            return await self._call(
                "POST", kind.path(meta["namespace"]), query={"fieldManager": FIELD_MANAGER}, body=dict(obj)
            )
        except ApiError as error:
            if error.status != 409:
                raise
            existing = await self.get(kind.kind, meta["namespace"], meta["name"])
            if existing is None:  # it went away in between: the next pass creates it
                raise
            _meet(existing, obj)
            return existing

    async def apply(self, obj: Mapping[str, Any]) -> Raw:
        """Server-side apply of a whole object; as it is now. Raises NameTaken (another's), BeingDeleted, ApiError."""
        kind, meta = KINDS[obj["kind"]], obj["metadata"]
        existing = await self.get(kind.kind, meta["namespace"], meta["name"])
        if existing:
            _meet(existing, obj)
        return await self._apply(kind.path(meta["namespace"], meta["name"]), dict(obj))

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

    async def delete(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Delete this one with what it owns; gone already is gone, and a namesake is left alone."""
        options = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        try:
            await self._call("DELETE", KINDS[kind].path(namespace, name), body=options)
        except ApiError as error:
            if error.status not in (404, 409):
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
        data = await self._send(method, path, query=query, body=body, content_type=content_type)
        found: Raw = json.loads(data)
        return found

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Raw | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> bytes:
        seconds = TIMEOUT_SECONDS if method == "GET" or self._fence is None else min(TIMEOUT_SECONDS, self._fence())
        headers = {"Accept": accept, "Content-Type": content_type}
        code, begun = 0, time.perf_counter()
        try:
            code, data = await self._api.send(method, path, query or {}, headers, body, seconds)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, "Unreachable", f"{type(error).__name__}: {error}") from error
        finally:
            metrics.API_REQUESTS.labels(method, code).inc()
            metrics.API_SECONDS.labels(method).observe(time.perf_counter() - begun)
        if code >= 400:
            raise _refusal(code, data)
        return data


def _refusal(status: int, data: bytes) -> ApiError:
    try:
        body: Raw = json.loads(data)
    except ValueError:
        body = {"message": data[:200].decode(errors="replace")}
    causes = {cause.get("reason") for cause in (body.get("details") or {}).get("causes") or ()}
    reason = TERMINATING if TERMINATING in causes else body.get("reason", "Unknown")
    return ApiError(status, reason, body.get("message", "no message"))


def without_empty_maps(value: Any) -> Any:
    """Server-side apply makes null of a map that lost its last key, and the schema refuses null: leave it out."""
    if isinstance(value, dict):
        return {key: without_empty_maps(member) for key, member in value.items() if member != {}}
    return [without_empty_maps(member) for member in value] if isinstance(value, list) else value


def _meet(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises BeingDeleted or NameTaken where the existing object cannot stand for the wanted one."""
    kind, name = wanted["kind"], wanted["metadata"]["name"]
    if held := held_by(existing):
        raise BeingDeleted(kind, name, held)
    if not is_same_work(existing, wanted):
        raise NameTaken(kind, name)


def is_same_work(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Does the existing object come from the same owner, or for one without an owner, say the same?"""
    owners = wanted["metadata"].get("ownerReferences")
    if owners:
        return owners[0]["uid"] in {o["uid"] for o in existing["metadata"].get("ownerReferences", ())}
    provenance = wanted["spec"]["provenance"]
    return bool(existing["spec"]["provenance"]["uid"] == provenance["uid"])
