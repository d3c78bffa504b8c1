"""`checkrein get`: the columns that the API server prints, as kubectl does."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from checkrein.api.crds import RESOURCES
from checkrein.cli import kube, objects
from checkrein.cli.errors import Refusal
from checkrein.cli.kube import PLURALS, Kube
from checkrein.cli.output import show
from checkrein.cli.text import table

Raw = dict[str, Any]
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
KINDS = tuple(resource.kind for resource in RESOURCES)


def add_parser(commands: Any) -> None:
    """`get`."""
    parser = commands.add_parser(
        "get",
        help="objects of one kind, or of all four",
        description="Prints what the API server prints of them, as kubectl get does.",
    )
    parser.add_argument("kind", metavar="KIND", nargs="?", default="all", help="for example agents, or all (default)")
    parser.add_argument("name", metavar="NAME", nargs="?", help="one of them")
    parser.add_argument("-o", "--output", choices=("text", "wide", "json", "yaml"), default="text")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="of the whole cluster")
    kube.add_arguments(parser)
    parser.set_defaults(run=lambda options: _run(kube.connect(options), options))


def _run(cluster: Kube, options: argparse.Namespace) -> int:
    kinds = KINDS if options.kind == "all" else (objects.kind(options.kind),)
    if options.output in ("json", "yaml"):
        return _documents(cluster, kinds, options)
    blocks = []
    for kind in kinds:
        path = cluster.path(PLURALS[kind], options.name or "", everywhere=options.all_namespaces and not options.name)
        found = cluster.read(path, accept=f"{TABLE},application/json")
        if found and found.get("rows"):
            blocks.append("\n".join(lines(found, wide=options.output == "wide", namespaces=options.all_namespaces)))
    if not blocks:
        raise Refusal(f"nothing found in namespace {cluster.namespace}" if not options.name else _absent(options))
    print("\n\n".join(blocks))
    return 0


def _absent(options: argparse.Namespace) -> str:
    return f"there is no {options.kind} {options.name}"


def _documents(cluster: Kube, kinds: Sequence[str], options: argparse.Namespace) -> int:
    if options.name:
        found = next((obj for kind in kinds if (obj := cluster.get(kind, options.name))), None)
        if found is None:
            raise Refusal(_absent(options))
        print(show(found, options.output), end="")
        return 0
    items = [
        {"apiVersion": "checkrein.dev/v1alpha1", "kind": kind, **obj}
        for kind in kinds
        for obj in cluster.all(kind, everywhere=options.all_namespaces)
    ]
    print(show({"apiVersion": "v1", "kind": "List", "items": items}, options.output), end="")
    return 0


def lines(found: Raw, *, wide: bool, namespaces: bool) -> list[str]:
    """A Table (meta.k8s.io/v1) as text; columns of a priority above 0 only where `wide`."""
    shown = [i for i, column in enumerate(found["columnDefinitions"]) if wide or not column["priority"]]
    header = [found["columnDefinitions"][i]["name"].upper() for i in shown]
    return table(
        [*(["NAMESPACE"] if namespaces else []), *header],
        (_cells(row, shown, namespaces) for row in found["rows"]),
    )


def _cells(row: Raw, shown: Sequence[int], namespaces: bool) -> list[str]:
    def cells() -> Iterator[str]:
        if namespaces:
            yield row["object"]["metadata"].get("namespace", "")
        for index in shown:
            value = row["cells"][index]
            yield "" if value is None else str(value)

    return list(cells())
