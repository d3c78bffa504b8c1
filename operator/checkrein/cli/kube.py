"""The edge to the API server: whose kubeconfig, a few verbs on raw objects, errors as sentences."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from checkrein.api.crds import RESOURCES
from checkrein.api.meta import API_VERSION, bounded
from checkrein.cli.errors import Refusal
from checkrein.cli.places import UsageError

Raw = dict[str, Any]
FIELD_MANAGER = "checkrein-cli"
TIMEOUT_SECONDS = 30
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
PLURALS = {resource.kind: resource.plural for resource in RESOURCES}
OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
WHO_AM_I = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


class Conflict(Refusal):
    """The object is not any more what was read: read it again."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say which cluster, as kubectl spells them."""
    where = parser.add_argument_group("which cluster")
    where.add_argument("-n", "--namespace", help="default: the context's")
    where.add_argument(
        "--kubeconfig", metavar="FILE", help="default: KUBECONFIG, ~/.kube/config, the pod's own account"
    )
    where.add_argument("--context", help="of the kubeconfig; default: its current one")
    where.add_argument("--as", dest="as_user", metavar="USER", help="whom to impersonate")


class Kube:
    """An API server as one user sees it, and the namespace that is meant."""

    def __init__(self, api: Any, namespace: str, as_user: str | None = None) -> None:
        self._api = api
        self.namespace = namespace
        self._headers = {"Impersonate-User": as_user} if as_user else {}

    def get(self, kind: str, name: str) -> Raw | None:
        """The object as it is now; None where there is none. Raises Refusal."""
        return self._call("GET", self._path(kind, name), absent=(404,))

    def apply(self, kind: str, name: str, body: Mapping[str, Any], *, dry_run: bool) -> Raw:
        """Server-side apply by force: who asks has looked at the owners. Raises Conflict, Refusal."""
        query = {"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Strict"}
        query |= {"dryRun": "All"} if dry_run else {}
        whole = {"apiVersion": API_VERSION, "kind": kind, **body}
        return self._call("PATCH", self._path(kind, name), query=query, body=whole, content_type=APPLY) or {}

    def merge(self, kind: str, obj: Raw, change: Mapping[str, Any], *, dry_run: bool) -> Raw:
        """JSON merge patch of the version of the object that was read; null takes a field out. Raises Conflict,
        Refusal."""
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
        meta = obj["metadata"]
        body = {**change, "metadata": {"resourceVersion": meta["resourceVersion"]}}
        return self._call("PATCH", self._path(kind, meta["name"]), query=query, body=body, content_type=MERGE) or {}

    def all(self, kind: str, *, everywhere: bool = False) -> list[Raw]:
        """Every object of one of the four kinds, in the namespace or in all. Raises Refusal."""
        return self.items(self.path(PLURALS[kind], everywhere=everywhere))

    def items(self, path: str, query: Mapping[str, str] | None = None) -> list[Raw]:
        """The objects of a list, page by page. Raises Refusal."""
        found: list[Raw] = []
        asked = {"limit": "500", **(query or {})}
        while True:
            page = self.read(path, asked) or {}
            found += page.get("items", ())
            if not (more := page.get("metadata", {}).get("continue")):
                return found
            asked["continue"] = more

    def read(self, path: str, query: Mapping[str, str] | None = None, accept: str = "application/json") -> Raw | None:
        """Whatever lies at this path; None where nothing does. Raises Refusal."""
        return self._call("GET", path, query=query, accept=accept, absent=(404,))

    def create(self, path: str, body: Raw, query: Mapping[str, str] | None = None) -> Raw:
        """Raises Conflict where it exists, Refusal."""
        return self._call("POST", path, query=query, body=body) or {}

    def lines(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[str]:
        """Text at this path, line by line as it comes, for example a log that is followed. Raises Refusal."""
        response = self._send("GET", path, query=query, accept="*/*", seconds=None, whole=False)
        if response.status >= 400:
            _parse(response.status, response.read())
        rest = b""
        for chunk in response.response.stream():
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line.decode(errors="replace") for line in whole)
        if rest:
            yield rest.decode(errors="replace")

    def path(self, plural: str, name: str = "", *, api: str = API_VERSION, everywhere: bool = False) -> str:
        """Where objects of a resource type are: of `api` (`v1` for the core group), in the namespace."""
        root = f"/api/{api}" if "/" not in api else f"/apis/{api}"
        parts = (root, "" if everywhere else f"namespaces/{self.namespace}", plural, name)
        return "/".join(filter(None, parts))

    def whoami(self) -> str:
        """The name under which the API server knows who asks. Raises Refusal."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = self._call("POST", WHO_AM_I, body=review) or {}
        return str(answer["status"]["userInfo"]["username"])

    def _path(self, kind: str, name: str) -> str:
        return self.path(PLURALS[kind], name)

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Raw | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        absent: tuple[int, ...] = (),
    ) -> Raw | None:
        response = self._send(method, path, query=query, body=body, content_type=content_type, accept=accept)
        return None if response.status in absent else _parse(response.status, response.read())

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Raw | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        seconds: float | None = TIMEOUT_SECONDS,
        whole: bool = True,
    ) -> Any:
        import urllib3

        request = self._api.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Accept": accept, "Content-Type": content_type, **self._headers},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            response = self._api.call_api(*request, _request_timeout=seconds)
            if whole:
                response.read()
        except urllib3.exceptions.HTTPError as error:
            raise Refusal(f"the API server does not answer: {bounded(str(error), 300)}") from error
        return response


def connect(options: argparse.Namespace) -> Kube:
    """The cluster that the options name. Raises UsageError."""
    try:
        from kubernetes import client, config
    except ImportError as error:
        raise UsageError("this takes the Kubernetes client: pip install 'checkrein[cli]'") from error
    try:
        contexts, current = config.list_kube_config_contexts(options.kubeconfig)  # type: ignore[no-untyped-call]
        api = config.new_client_from_config(options.kubeconfig, options.context)  # type: ignore[no-untyped-call]
    except config.ConfigException as error:
        if options.kubeconfig or options.context or not OWN_NAMESPACE.is_file():
            raise UsageError(f"--kubeconfig, --context: {error}") from error
        config.load_incluster_config()  # type: ignore[no-untyped-call]
        return Kube(client.ApiClient(), options.namespace or OWN_NAMESPACE.read_text().strip(), options.as_user)
    chosen = next((c for c in contexts if c["name"] == options.context), current)
    return Kube(api, options.namespace or chosen["context"].get("namespace") or "default", options.as_user)


def _parse(status: int, data: bytes) -> Raw:
    try:
        body: Raw = json.loads(data)
    except ValueError:
        body = {"message": data[:200].decode(errors="replace")}
    if status == 409:
        raise Conflict(body.get("message", "conflict"))
    if status >= 400:
        raise Refusal(f"the API server refuses it ({status}): {bounded(body.get('message') or 'no message')}")
    return body
