"""Entry point of `checkrein`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from checkrein.cli import audit
from checkrein.cli.errors import Refusal
from checkrein.cli.places import UsageError
from checkrein.cli.rollout import verbs
from checkrein.store.decisions.sources import SourceError
from checkrein.store.errors import StoreError

REFUSED, USAGE = 1, 2


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser("checkrein", description="Asks about agents and what they left, and steers them.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    audit.add_parsers(commands)
    verbs.add_parsers(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """`checkrein`."""
    options = arguments().parse_args(argv)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except Refusal as error:
        print(f"checkrein: {error}", file=sys.stderr)
        status = REFUSED
    except (UsageError, SourceError, StoreError, OSError) as error:
        print(f"checkrein: {error}", file=sys.stderr)
        status = USAGE
    sys.exit(status)


if __name__ == "__main__":
    main()
