"""How long a store is waited for, and what ends the wait."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from checkrein.api.tasks import Failure
from checkrein.store.errors import DigestMismatch, StoreError, StoreUnavailable
from checkrein.train import patience
from checkrein.train.failures import Failed
from checkrein.train.patience import patiently

AWAY = StoreUnavailable("cannot write s3://runs/a: no answer")


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.01)


def failing(times: int, error: StoreError = AWAY) -> Callable[[], str]:
    """Fails so many times, then works."""
    left = [times]

    def work() -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise error
        return "done"

    return work


def test_what_keeps_it_is_told_and_so_is_its_end() -> None:
    told: list[Failure | None] = []
    assert patiently(failing(2), told.append) == "done"
    assert [f and f.reason for f in told] == ["StoreUnavailable", "StoreUnavailable", None]
    assert told[0] is not None
    assert told[0].message == "store: cannot write s3://runs/a: no answer"


def test_what_waiting_cannot_mend_is_not_waited_for() -> None:
    with pytest.raises(DigestMismatch):
        patiently(failing(1, DigestMismatch("other bytes")))


def test_patience_comes_to_an_end() -> None:
    with pytest.raises(StoreUnavailable):
        patiently(failing(10**6), seconds=0.05)


def test_a_pod_that_is_told_to_end_waits_no_longer() -> None:
    def ended() -> None:
        raise Failed("Terminated", "the pod was told to end", permanent=False)

    with pytest.raises(Failed, match="told to end"):
        patiently(failing(10**6), ended=ended)
