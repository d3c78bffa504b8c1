"""Handing over a page: to a file, and to a browser where a person sits at a terminal."""

from __future__ import annotations

import argparse
import sys
import tempfile
import webbrowser
from pathlib import Path

from checkrein.cli.places import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the page goes."""
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: NAME.html in a new folder")
    parser.add_argument(
        "--open",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="show it in a browser (default: on a terminal, where no FILE is given)",
    )


def check() -> None:
    """Before anything is fetched. Raises UsageError."""
    try:
        import jinja2  # noqa: F401 - whether it is there
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError("reports take jinja2 and matplotlib: pip install 'checkrein[cli]'") from error


def deliver(html: str, name: str, options: argparse.Namespace) -> None:
    """Writes it, says where, opens it. Raises OSError."""
    file: Path = options.output or Path(tempfile.mkdtemp(prefix="checkrein-")) / f"{name}.html"
    file.write_text(html, encoding="utf-8")
    print(f"written to {file}")
    wanted = options.open if options.open is not None else options.output is None and sys.stdout.isatty()
    if wanted and not webbrowser.open(file.resolve().as_uri()):
        print("no browser was found: open the file yourself, or say --no-open", file=sys.stderr)
