"""Answers to the planners' requests, by store, HTTP and API server; each kept for as long as it may be believed."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
from pydantic import ValidationError

from checkrein.api.digests import canonical_json, sha256
from checkrein.api.evidence import EVIDENCE, Evidence
from checkrein.api.meta import GROUP, Model, bounded
from checkrein.api.names import MANAGED_BY, MANAGED_BY_LABEL
from checkrein.api.policy import PolicyVersion
from checkrein.api.tasks import (
    ASSIGNMENT_KEY_FILE,
    AUTHORITIES,
    MANAGEMENT_PORT,
    SERVING_PORT,
    AgentReport,
    TrainingProgress,
)
from checkrein.control import requests, tokens
from checkrein.control.children import JobView, job_view, warning
from checkrein.control.cluster import ApiError, Cluster, Raw
from checkrein.control.kinds import EVENT, KINDS
from checkrein.control.plan import Request, Unavailable
from checkrein.control.stores import RUN_SECONDS, Stores, rights
from checkrein.judge import assignment
from checkrein.store.errors import StoreError

T = TypeVar("T")
M = TypeVar("M", bound=Model)
EXPIRES = f"{GROUP}/expires"
RIGHTS = f"{GROUP}/rights"  # digest of what the session may do: a pod gets new ones when they change
JOB_NAME_LABEL = "batch.kubernetes.io/job-name"
TRUST = f"{GROUP}/store-authorities"  # digest of who vouches for the store
KEY_BYTES = 32
ASSIGNMENT = Path(ASSIGNMENT_KEY_FILE).name
SEED_BYTES = 16
SAID_LIMIT = 256
KEPT_UNSWEPT = 256  # answers; what is not believed any more is swept when they have doubled since
HTTP_TIMEOUT = httpx.Timeout(2.0)
SESSION_MARGIN = timedelta(seconds=RUN_SECONDS / 2)
# Seconds for which an answer is believed. Requests that are not listed are asked anew in every pass.
BELIEVED: dict[type[Request[Any]], float] = {
    requests.ReadAgent: 0.2,
    requests.ReadEvidence: 1,
    requests.ReadStoredEvidence: 5,
    requests.ReadWarning: 10,
    requests.EnsureSession: 60,
    requests.EnsureTokenKey: 600,
    requests.OpenSeed: 600,
    requests.PruneCheckpoints: 600,
    requests.EstimateOffPolicy: 300,
}


class World:
    """Answers requests; never raises: a failure is an answer too (Unavailable)."""

    def __init__(
        self,
        cluster: Cluster,
        stores: Stores,
        http: httpx.AsyncClient,
        believed: dict[type[Request[Any]], float],
        token: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._cluster = cluster
        self._stores = stores
        self._http = http
        self._believed = {**BELIEVED, **believed}
        self._clock = clock
        self._wall = wall
        self._token = token
        self._seeds: dict[requests.DrawSeed, str] = {}
        self._kept: dict[Request[Any], tuple[float, Any]] = {}
        self._sweep_at = KEPT_UNSWEPT
        s = stores
        self._ways: dict[type[Request[Any]], Callable[[Any], Awaitable[Any]]] = {
            requests.ReadProgress: lambda r: self._read(TrainingProgress, r.address, SERVING_PORT, "/progress"),
            requests.ReadAgent: lambda r: self._read(AgentReport, r.address, MANAGEMENT_PORT, "/status"),
            requests.ReadJob: self._job,
            requests.ReadWarning: self._warning,
            requests.EnsureSession: self._session,
            requests.EnsureTokenKey: self._token_key,
            requests.ReserveEvaluation: lambda r: asyncio.to_thread(s.reserve_evaluation, r),
            requests.ReserveVersion: lambda r: asyncio.to_thread(s.reserve_version, r),
            requests.ReadResults: lambda r: asyncio.to_thread(s.results, r.results),
            requests.PublishArtifact: lambda r: asyncio.to_thread(s.publish, r.manifest),
            requests.PublishRecording: lambda r: asyncio.to_thread(s.publish_recording, r.recording),
            requests.PruneCheckpoints: lambda r: asyncio.to_thread(s.prune, r),
            requests.ReadVersion: self._version,
            requests.VerifyArtifact: lambda r: asyncio.to_thread(s.verify, r.artifact),
            requests.DrawSeed: self._seed,
            requests.OpenSeed: self._open_seed,
            requests.ReadEvidence: self._evidence,
            requests.ReadStoredEvidence: lambda r: asyncio.to_thread(s.stored_evidence, r),
            requests.ReadHistory: lambda r: asyncio.to_thread(s.history, r),
            requests.AppendHistory: lambda r: asyncio.to_thread(s.append_history, r),
            requests.EstimateOffPolicy: lambda r: asyncio.to_thread(s.estimate_off_policy, r),
        }

    async def answer(self, asked: Iterable[Request[Any]]) -> dict[Request[Any], Any]:
        """All answers, found side by side."""
        asked = list(asked)
        return dict(zip(asked, await asyncio.gather(*map(self._one, asked)), strict=True))

    async def _one(self, request: Request[Any]) -> Any:
        kept = self._kept.get(request)
        if kept and kept[0] > self._clock():
            return kept[1]
        try:
            answer = await self._ways[type(request)](request)
        except Unavailable as no:
            answer = no
        except StoreError as error:
            answer = Unavailable(error.reason, str(error), temporary=error.temporary)
        except ApiError as error:
            answer = Unavailable(error.reason, error.message)
        except ValidationError as error:
            answer = Unavailable("Malformed", bounded(f"{type(request).__name__}: {error}"), temporary=False)
        self._keep(request, answer)
        return answer

    def _keep(self, request: Request[Any], answer: Any) -> None:
        now = self._clock()
        if (seconds := self._believed.get(type(request))) and not isinstance(answer, Unavailable):
            if len(self._kept) >= self._sweep_at:
                self._kept = {r: k for r, k in self._kept.items() if k[0] > now}
                self._sweep_at = max(2 * len(self._kept), KEPT_UNSWEPT)
            self._kept[request] = (now + seconds, answer)

    async def _seed(self, request: requests.DrawSeed) -> str:
        """The same in every pass, until the status has it."""
        return self._seeds.setdefault(request, assignment.KEYED + secrets.token_hex(SEED_BYTES))

    async def _open_seed(self, request: requests.OpenSeed) -> str:
        secret = await self._cluster.get("Secret", request.namespace, request.name)
        key = (secret or {}).get("data", {}).get(ASSIGNMENT)
        if not key:
            missing = (
                f"Secret {request.name} has no key {ASSIGNMENT!r}, by which arms are told; it is made within minutes"
            )
            raise Unavailable("AssignmentKeyMissing", missing)
        return assignment.opened(request.seed, base64.b64decode(key))

    async def _evidence(self, request: requests.ReadEvidence) -> Evidence:
        """Told to the operator only."""
        proof = {"Authorization": f"Bearer {self._token()}"}
        path = f"{EVIDENCE}?after={request.after}"
        return await self._read(Evidence, request.address, MANAGEMENT_PORT, path, proof)

    async def _read(
        self, model: type[M], address: str, port: int, path: str, headers: Mapping[str, str] | None = None
    ) -> M:
        """A pod's own word. Raises Unavailable where it has none."""
        host = f"[{address}]" if ":" in address else address
        try:
            response = await self._http.get(f"http://{host}:{port}{path}", timeout=HTTP_TIMEOUT, headers=headers)
            response.raise_for_status()
        except httpx.HTTPStatusError as error:
            said = bounded(f"{address}:{port}{path}: {error.response.status_code} {error.response.text}", SAID_LIMIT)
            raise Unavailable("PodRefuses", said) from error
        except httpx.HTTPError as error:
            raise Unavailable("PodSilent", f"{address}:{port}{path}: {type(error).__name__}") from error
        return model.model_validate_json(response.content)

    async def _job(self, request: requests.ReadJob) -> JobView | None:
        """The pods after the Job: then they are never the older news."""
        job = await self._cluster.get("Job", request.namespace, request.name)
        if job is None:
            return None
        selector = f"{JOB_NAME_LABEL}={request.name}"
        return job_view(job, await self._cluster.list(KINDS["Pod"], selector, request.namespace))

    async def _version(self, request: requests.ReadVersion) -> PolicyVersion | None:
        found = await self._cluster.get("PolicyVersion", request.namespace, request.name)
        return PolicyVersion.model_validate(found) if found else None

    async def _warning(self, request: requests.ReadWarning) -> str:
        """Of Events only the newest counts: what was mended is not told any more."""
        about = f"regarding.uid={request.uid},type=Warning"
        found = await self._cluster.list(EVENT, namespace=request.namespace, field_selector=about)
        newest = max(found, key=_last_seen, default=None)
        return warning(newest.get("note", "")) if newest else ""

    async def _session(self, request: requests.EnsureSession) -> str:
        """Mint anew when less than half of the shortest session's life is left: the pod sees it within minutes."""
        present = await self._cluster.get("Secret", request.namespace, request.name)
        # It dies with the user that minted it: that user's name is part of what it may do.
        may = sha256(canonical_json({"rights": rights(request), "minter": self._stores.minter}))
        authorities = await asyncio.to_thread(self._stores.authorities)
        trust = sha256(authorities) if authorities else ""
        if (
            present
            and _owned(present, request.owner)
            and _noted(present, RIGHTS) == may
            and _noted(present, TRUST) == trust
            and _left(present) > SESSION_MARGIN
        ):
            return request.name
        session = await asyncio.to_thread(self._stores.mint, request)
        secret = _secret(request.namespace, request.name, request.owner)
        expires = session.expiration.isoformat() if session.expiration else ""
        secret["metadata"]["annotations"] = {EXPIRES: expires, RIGHTS: may, **({TRUST: trust} if trust else {})}
        secret["data"] = {
            "credentials.json": _base64(session.model_dump_json(by_alias=True, exclude_none=True).encode()),
            **({AUTHORITIES: _base64(authorities)} if authorities else {}),
        }
        await self._cluster.apply(secret)
        return request.name

    async def _token_key(self, request: requests.EnsureTokenKey) -> str:
        """Keys are added to those that are there: one that went would end every episode begun with it."""
        present = await self._cluster.get("Secret", request.namespace, request.name)
        now = self._wall()
        fresh = {str(int(now)): _base64(secrets.token_bytes(KEY_BYTES))}
        arms = {ASSIGNMENT: _base64(secrets.token_bytes(KEY_BYTES))}
        if present is None or not _owned(present, request.owner):
            secret = _secret(request.namespace, request.name, request.owner)
            await self._cluster.create(secret | {"data": fresh | arms})
            return request.name
        held = present.get("data", {})
        names = [name for name in held if name != ASSIGNMENT]
        change: dict[str, str | None] = dict.fromkeys(tokens.outlived(names, now))
        change |= {} if ASSIGNMENT in held else arms
        change |= fresh if tokens.is_due(names, now, request.rotate_seconds) else {}
        if change:
            await self._cluster.merge(present, {"data": change})
        return request.name


def _secret(namespace: str, name: str, owner: requests.Owner) -> dict[str, Any]:
    meta = {
        "name": name,
        "namespace": namespace,
        "labels": {MANAGED_BY_LABEL: MANAGED_BY},
        "ownerReferences": [dict(owner)],
    }
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": meta}


def _owned(obj: dict[str, Any], owner: requests.Owner) -> bool:
    return dict(owner)["uid"] in {o["uid"] for o in obj["metadata"].get("ownerReferences", ())}


def _last_seen(event: Raw) -> str:
    """When an Event happened last. Recorders of client-go's older library fill the deprecated field only."""
    series, created = event.get("series") or {}, event["metadata"]["creationTimestamp"]
    return str(
        series.get("lastObservedTime") or event.get("deprecatedLastTimestamp") or event.get("eventTime") or created
    )


def _noted(secret: dict[str, Any], annotation: str) -> str:
    return str(secret["metadata"].get("annotations", {}).get(annotation, ""))


def _left(secret: dict[str, Any]) -> timedelta:
    """How long the session in a Secret still lasts, by its annotation."""
    expires = _noted(secret, EXPIRES)
    return datetime.fromisoformat(expires) - datetime.now(UTC) if expires else timedelta()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
