"""The operator's own token, as replicas ask for it before they tell evidence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from checkrein.control.plan import Unavailable

TOKEN_FILE = "/var/run/checkrein/account/token"  # noqa: S105 - a path
"""Of the operator's service account, with audience checkrein.dev. The kubelet replaces it before it expires."""


def from_file(path: Path) -> Callable[[], str]:
    """A source that reads the file each time. Raises Unavailable: the file may be about to be replaced."""

    def read() -> str:
        try:
            token = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Unavailable(
                "NoToken", f"the operator's token {path} cannot be read: {type(error).__name__}"
            ) from error
        if not token:
            raise Unavailable("NoToken", f"the operator's token {path} is empty")
        return token

    return read
