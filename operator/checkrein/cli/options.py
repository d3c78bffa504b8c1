"""Options that several commands share."""

from __future__ import annotations

import argparse
from datetime import timedelta

from checkrein.api.meta import parse_duration
from checkrein.cli.rollout import owners
from checkrein.cli.rollout.apply import Manner


def duration(text: str) -> timedelta:
    """A type of argparse's, for example 1h30m."""
    try:
        value = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if not isinstance(value, timedelta):
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 90s, 20m or 1h30m")
    return value


def add_change(parser: argparse.ArgumentParser) -> None:
    """How a change of the spec is made."""
    parser.add_argument("--dry-run", choices=("none", "server"), default="none", help="server: show what would be")
    parser.add_argument(
        "--gitops-managers",
        metavar="PATTERN,...",
        default="",
        help=f"field managers whose fields are left alone, beside {', '.join(owners.GITOPS)}",
    )


def manner(options: argparse.Namespace) -> Manner:
    """What `add_change` took."""
    more = (pattern.strip() for pattern in options.gitops_managers.split(","))
    return Manner((*owners.GITOPS, *filter(None, more)), dry_run=options.dry_run == "server")
