"""A question answered in a copy of this process, for what would leave much memory behind in it.

ONNX Runtime takes 30 MB for as long as the process lives. Where it only judges a network that numpy then computes, the
copy is what loads it, and its memory goes with it.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable

SECONDS = 30.0
YES = b"y"
FIRST_FILE = 3


def agreed(question: Callable[[], bool], seconds: float = SECONDS) -> bool:
    """Whether the copy said yes. No, an exception, its death and its silence are all a no: ask again here, then.

    The copy has this thread alone (fork(2)) and no files: the question must need neither.
    """
    reading, writing = os.pipe()
    copy = os.fork()
    if copy == 0:
        _answer(question, writing)
    os.close(writing)
    try:
        heard, _, _ = select.select([reading], [], [], seconds)
        return bool(heard) and os.read(reading, len(YES)) == YES
    finally:
        os.close(reading)
        os.kill(copy, signal.SIGKILL)
        os.waitpid(copy, 0)


def _answer(question: Callable[[], bool], writing: int) -> None:
    """In the copy. Never returns: cleaning up is for the original."""
    try:
        # A connection that the original closes must not stay open because of a copy.
        os.closerange(FIRST_FILE, writing)
        os.closerange(writing + 1, os.sysconf("SC_OPEN_MAX"))
        if question():
            os.write(writing, YES)
    finally:
        os._exit(0)
