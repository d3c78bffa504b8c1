"""How tasks run beside each other, and how the process is told to end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def stops_on_signals(stop: asyncio.Event) -> None:
    """A signal sets the event, whoever listened to signals before."""
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def first_to_end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Returns, or raises, as the first of them does; the others are cancelled, and have ended."""
    tasks = list(tasks)
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancelled(tasks)
    for task in done:
        task.result()


async def cancelled(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Returns once all of them have ended."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
