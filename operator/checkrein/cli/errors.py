"""How a command ends when it is not done."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 - says what happened
    """It was understood and is not done: a sentence why, and where there is one, the mend. Exit status 1."""
