"""Entry point of `checkrein`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from checkrein.cli import audit, completion, demo, override, wait
from checkrein.cli.errors import Refusal
from checkrein.cli.look import doctor, explain, get, logs, report, status, top
from checkrein.cli.places import UsageError
from checkrein.cli.rollout import verbs
from checkrein.store.decisions.sources import SourceError
from checkrein.store.errors import StoreError

REFUSED, USAGE = 1, 2


def arguments() -> argparse.ArgumentParser:
    """The command line, the same as `checkrein` and as `kubectl checkrein`."""
    parser = argparse.ArgumentParser(
        "kubectl checkrein" if os.path.basename(sys.argv[0]).startswith("kubectl") else "checkrein",
        description="Shows environments, training jobs, policies and agents, says why something is not ready, and "
        "steers agents. No verb changes what a change of a spec could not. Exit status: 0 done, 1 refused or not so, "
        "2 could not be asked so.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for look in (status, get, explain, wait, logs, top, report, doctor):
        look.add_parser(commands)
    demo.add_parser(commands)
    override.add_parsers(commands)
    verbs.add_parsers(commands)
    audit.add_parsers(commands)
    completion.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """`checkrein`."""
    parser = arguments()
    completion.offer(parser)
    options = parser.parse_args(argv)
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
