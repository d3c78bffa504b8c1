"""Why an environment cannot be made."""

from __future__ import annotations


class EnvironmentFault(Exception):  # noqa: N818 - a fault of the environment, told to a person
    """An environment that cannot be made. `reason` is CamelCase, the text names the field and the mend."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
