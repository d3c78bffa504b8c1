"""Completion in shells, of `checkrein` and of `kubectl checkrein`, by argcomplete."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from checkrein.cli.places import UsageError

SHELLS = ("bash", "zsh", "fish")
KUBECTL_NO_FILES = ":4"
"""Cobra's ShellCompDirectiveNoFileComp, the last line that kubectl expects of `kubectl_complete-NAME`."""


def add_parser(commands: Any) -> None:
    """`completion`."""
    parser = commands.add_parser(
        "completion",
        help="a script that completes commands in a shell",
        description='For example: source <(checkrein completion bash). "kubectl checkrein" is completed by kubectl '
        "itself, which finds kubectl_complete-checkrein in the PATH.",
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    print(_argcomplete().shellcode(["checkrein"], shell=options.shell))
    return 0


def offer(parser: argparse.ArgumentParser) -> None:
    """Answers a shell that asks, and ends then."""
    if "_ARGCOMPLETE" in os.environ:
        _argcomplete().autocomplete(parser)


def kubectl() -> None:
    """`kubectl_complete-checkrein WORD...`: what the last word may become, a line each."""
    from checkrein.cli.main import arguments

    *before, last = sys.argv[1:] or [""]
    finder = _argcomplete().CompletionFinder(arguments(), always_complete_options="long")
    print(*candidates(finder, before, last), KUBECTL_NO_FILES, sep="\n")


def candidates(finder: Any, before: list[str], last: str) -> list[str]:
    """Ways to go on from these words."""
    found = finder._get_completions(["checkrein", *before], last, "", None)  # what its own shell hook calls
    return sorted({word.strip() for word in found})


def _argcomplete() -> Any:
    try:
        import argcomplete
    except ImportError as error:
        raise UsageError("this takes argcomplete: pip install 'checkrein[cli]'") from error
    return argcomplete
