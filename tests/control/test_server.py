"""The operator's own pages."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from checkrein.control.server import app


async def test_a_request_is_answered_though_kopf_cancels_what_began_after_it() -> None:
    asked, may = threading.Event(), threading.Event()
    sent: list[dict[str, Any]] = []

    def missing() -> str:
        asked.set()
        may.wait()
        return "the CRDs do not fit"

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    request = asyncio.ensure_future(app(missing)({"type": "http", "path": "/readyz"}, None, send))
    await asyncio.to_thread(asked.wait)
    request.cancel()
    await asyncio.sleep(0)
    may.set()
    await request
    assert [sent[0]["status"], sent[1]["body"]] == [503, b"the CRDs do not fit"]
