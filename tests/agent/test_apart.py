"""Questions that a copy of the process answers."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable

import psutil
import pytest

from checkrein.agent.apart import agreed


def fails() -> bool:
    raise ValueError("no answer")


def dies() -> bool:
    os.kill(os.getpid(), signal.SIGKILL)
    return True


def keeps_silent() -> bool:
    threading.Event().wait()
    return True


KEPT: list[int] = []


def keeps_something() -> bool:
    KEPT.append(1)
    return KEPT == [1]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        pytest.param(lambda: True, True, id="yes"),
        pytest.param(lambda: False, False, id="no"),
        pytest.param(fails, False, id="an exception"),
        pytest.param(dies, False, id="its death"),
        pytest.param(keeps_silent, False, id="its silence"),
        pytest.param(keeps_something, True, id="yes, and it keeps something"),
    ],
)
def test_agreed(question: Callable[[], bool], answer: bool) -> None:
    before = psutil.Process().children()
    assert agreed(question, seconds=30 if answer else 1) == answer
    assert KEPT == [], "what it keeps goes with it"
    assert psutil.Process().children() == before, "nothing is left of it"


def test_the_copy_holds_no_connection_open() -> None:
    with socket.socket() as connection:

        def closed() -> bool:
            try:
                os.fstat(connection.fileno())
            except OSError:
                return True
            return False

        assert agreed(closed)
        assert not closed(), "the original keeps it"
