"""Who wants to know how the store does is told of each request; by whom it is counted is the process's affair."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from checkrein.store.errors import StoreError

Observer = Callable[[str, float, StoreError | None], None]
"""Is told the operation (read, write, list, ...), its seconds, and how it failed, if it did."""


def nobody(operation: str, seconds: float, error: StoreError | None) -> None:
    """Nobody wants to know."""


@contextmanager
def observed(observer: Observer, operation: str) -> Iterator[None]:
    """Tells the observer of what runs inside."""
    begun, failed = time.perf_counter(), None
    try:
        yield
    except StoreError as error:
        failed = error
        raise
    finally:
        observer(operation, time.perf_counter() - begun, failed)
