"""A replica as it is, but for patience: a disk or a processor that others keep busy for some seconds is not at fault
here. What fails rather than hangs is told as soon as ever.
"""

from __future__ import annotations

from importlib import import_module

PATIENCE = 60.0


def main() -> None:
    """The replica's own entry point, once its limits are others: who imports them takes what is there then."""
    import_module("checkrein.lean")  # first, as in that entry point
    for module, limit in (("understudy", "SECONDS"), ("pilot", "DURABLE_SECONDS")):
        setattr(import_module(f"checkrein.agent.{module}"), limit, PATIENCE)
    import_module("checkrein.agent.main").main()


if __name__ == "__main__":
    main()
