"""Whether an agent expects the wrappers at Client that this side runs: they are named by digest in its interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from checkrein.api.wrappers import Wrapper, client_digest
from checkrein.client.messages import Request

DOCUMENT = Request("/openapi.json", "", repeatable=True, method="GET")
MEMBER = "x-client-wrappers"


class WrapperMismatchError(ValueError):
    """The agent's policy learnt behind other wrappers: its observations or actions would mean something else."""


def require_same(document: Mapping[str, Any], wrappers: Sequence[Wrapper]) -> None:
    """By the agent's answer to `DOCUMENT`, which wrappers its callers must run. Raises WrapperMismatchError."""
    info = document.get("info")
    ours, theirs = client_digest(wrappers), info.get(MEMBER) if isinstance(info, dict) else None
    if ours != theirs:
        names = ", ".join(wrapper.gymnasium.name for wrapper in wrappers if wrapper.gymnasium)
        raise WrapperMismatchError(
            f"the agent expects its callers to run {_named(theirs)}, and here are {_named(ours, names)}; "
            "give spec.wrappers of the RLEnvironment that the policy was trained in"
        )


def _named(digest: str | None, names: str = "") -> str:
    known = f" ({names})" if names else ""
    return f"the wrappers with digest {digest}{known}" if digest else "no wrappers"
