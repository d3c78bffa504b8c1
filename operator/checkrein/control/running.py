"""How tasks run beside each other, and end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any


async def first_to_end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Returns, or raises, as the first of them does; the others are cancelled, and have ended."""
    tasks = list(tasks)
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancelled(tasks)
    for task in done:
        task.result()


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Returns once all of them have ended."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
