"""`checkrein status`: everything in a namespace as one tree, once or live."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from checkrein.cli import kube, objects
from checkrein.cli.kube import Kube
from checkrein.cli.look import tree
from checkrein.cli.output import show
from checkrein.cli.style import Style

LOOK_SECONDS = 1.0
HOME_AND_CLEAR = "\x1b[H\x1b[J"


def add_parser(commands: Any) -> None:
    """`status`."""
    parser = commands.add_parser(
        "status",
        help="environments, training jobs, policies and agents as a tree",
        description="Shows what came of what: environment, training jobs, policy versions, agents.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="only trees that this object is part of")
    parser.add_argument("-o", "--output", choices=("text", "wide", "json", "yaml"), default="text")
    parser.add_argument("-w", "--watch", action="store_true", help="show it anew whenever it changes")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="of the whole cluster")
    kube.add_arguments(parser)
    parser.set_defaults(run=lambda options: _run(kube.connect(options), options))


def _run(cluster: Kube, options: argparse.Namespace) -> int:
    if not options.watch:
        print(_text(cluster, options))
        return 0
    with suppress(KeyboardInterrupt):
        show_changes(_texts(cluster, options))
    return 0


def show_changes(texts: Iterable[str]) -> None:
    """Print each text that is not the one before; on a terminal in its place."""
    shown: str | None = None
    for text in texts:
        if text != shown:
            between = HOME_AND_CLEAR if sys.stdout.isatty() else "" if shown is None else "\n"
            print(f"{between}{text}", flush=True)
            shown = text


def _texts(cluster: Kube, options: argparse.Namespace) -> Iterator[str]:
    while True:
        yield _text(cluster, options)
        time.sleep(LOOK_SECONDS)


def _text(cluster: Kube, options: argparse.Namespace) -> str:
    everywhere = options.all_namespaces
    roots = tree.grow(objects.read(cluster, everywhere=everywhere))
    if options.name:
        roots = [root for root in roots if _holds(root, options.name)]
    if options.output in ("json", "yaml"):
        return show([root.document() for root in roots], options.output).rstrip("\n")
    if not roots:
        where = "the cluster" if everywhere else f"namespace {cluster.namespace}"
        named = f" called {options.name}" if options.name else ""
        return f"nothing of Checkrein's{named} in {where}"
    style = Style.of(sys.stdout)
    return "\n".join(tree.draw(roots, style, wide=options.output == "wide", namespaces=everywhere))


def _holds(node: tree.Node, name: str) -> bool:
    return node.name == name or any(_holds(child, name) for child in node.children)
