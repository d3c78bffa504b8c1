"""The replica's ear: a list and a watch of its one AgentDeployment, straight from the API server.

An API server that is away changes nothing: the last word stays. Lists carry no resourceVersion: "0" would allow an
answer from a cache of any age (Kubernetes API concepts, "The resourceVersion parameter").
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import ValidationError

from checkrein.agent.backoff import delay
from checkrein.agent.metrics import Contact
from checkrein.api.deployment import AgentDeployment
from checkrein.api.meta import API_VERSION

WATCH_SECONDS = 45  # the server ends a watch after this long, so that silence for longer means a dead connection
SILENCE_SECONDS = 5.0
GONE = 410
log = logging.getLogger(__name__)


class RelistError(Exception):
    """The watch cannot go on from where it was."""


@dataclass(frozen=True)
class Event:
    """One line of a watch: how far it is, and the object unless it only says how far, or that the object is gone."""

    resource_version: str
    object: dict[str, Any] | None


async def lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Whole lines. httpx's own iterator also splits at what JSON leaves unescaped inside strings, such as U+0085."""
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line


def parse(line: bytes) -> Event:
    """An event of the watch protocol. Raises RelistError; ValueError, KeyError or TypeError where it is none."""
    event = json.loads(line)
    kind, content = event["type"], event["object"]
    if kind == "ERROR":
        raise RelistError(str(content.get("message") or content.get("reason") or content)[:200])
    version = content["metadata"]["resourceVersion"]
    return Event(version, content if kind in ("ADDED", "MODIFIED") else None)


class Watcher:
    """Follows one AgentDeployment for as long as the process lives."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        namespace: str,
        name: str,
        heard: Callable[[AgentDeployment], None],
        contact: Contact,
        rng: random.Random,
    ) -> None:
        self._client = client
        self._path = f"/apis/{API_VERSION}/namespaces/{namespace}/agentdeployments"
        self._selector = f"metadata.name={name}"
        self._heard = heard
        self._contact = contact
        self._rng = rng
        self._version = ""

    async def run(self) -> None:
        """Never returns. Whatever goes wrong is logged and tried again."""
        failures = 0
        while True:
            try:
                await self._once()
                failures = 0
                continue
            except RelistError as error:
                log.info("watch starts over: %s", error)
                self._version = ""
            except (httpx.HTTPError, httpx.StreamError, OSError) as error:
                log.warning("watch interrupted, the last word stays: %s: %.200s", type(error).__name__, error)
            except Exception:  # going deaf, or down, would be worse than any word that cannot be understood
                log.exception("watch starts over, the last word stays")
                self._version = ""
            failures += 1
            await asyncio.sleep(delay(failures, self._rng))

    async def _once(self) -> None:
        """One watch to its end, after a list where there is nothing to go on from."""
        if not self._version:
            self._version = await self._list()
        seconds = WATCH_SECONDS * self._rng.uniform(0.8, 1.0)
        timeout = httpx.Timeout(seconds + SILENCE_SECONDS, connect=SILENCE_SECONDS)
        query: dict[str, str | int] = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": int(seconds),
            "resourceVersion": self._version,
            "fieldSelector": self._selector,
        }
        async with self._client.stream("GET", self._path, params=query, timeout=timeout) as response:
            _require_success(response)
            self._contact.heard()
            async for line in lines(response.aiter_bytes()):
                self._take(line)

    async def _list(self) -> str:
        """The version that a watch goes on from."""
        response = await self._client.get(self._path, params={"fieldSelector": self._selector})
        _require_success(response)
        self._contact.heard()
        content = response.json()
        for item in content["items"]:
            self._tell(item)
        return str(content["metadata"]["resourceVersion"])

    def _take(self, line: bytes) -> None:
        event = parse(line)
        self._contact.heard()
        if event.object is not None:
            self._tell(event.object)
        self._version = event.resource_version

    def _tell(self, content: dict[str, Any]) -> None:
        try:
            word = AgentDeployment.model_validate(content)
        except ValidationError as error:
            log.error("AgentDeployment cannot be read, the last word stays: %.500s", error)
            return
        self._heard(word)


def _require_success(response: httpx.Response) -> None:
    if response.status_code == GONE:
        raise RelistError("the API server no longer knows this resourceVersion")
    response.raise_for_status()
