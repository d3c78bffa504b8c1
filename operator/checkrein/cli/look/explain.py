"""`checkrein explain`: why is it not ready?"""

from __future__ import annotations

import argparse
from typing import Any

from checkrein.api.names import MANAGED_BY, MANAGED_BY_LABEL
from checkrein.cli import kube, objects
from checkrein.cli.kube import Kube
from checkrein.cli.look import causes
from checkrein.cli.look.causes import Surroundings

FINE, WRONG = 0, 1


def add_parser(commands: Any) -> None:
    """`explain`."""
    parser = commands.add_parser(
        "explain",
        help="why it is not ready: from its conditions through what it needs to the cause",
        description="Walks conditions, references, pods and events. Exit status 0: nothing is wrong; 1: something is.",
    )
    parser.add_argument("object", metavar="[KIND/]NAME", help="for example agent/cartpole")
    kube.add_arguments(parser)
    parser.set_defaults(run=lambda options: _run(kube.connect(options), options))


def _run(cluster: Kube, options: argparse.Namespace) -> int:
    obj = objects.find(cluster, options.object)
    ours, warnings = {"labelSelector": f"{MANAGED_BY_LABEL}={MANAGED_BY}"}, {"fieldSelector": "type=Warning"}
    workloads = (("jobs", "batch/v1"), ("statefulsets", "apps/v1"))
    around = Surroundings(
        objects.read(cluster),
        cluster.items(cluster.path("pods", api="v1"), ours),
        [found for plural, api in workloads for found in cluster.items(cluster.path(plural, api=api), ours)],
        cluster.items(cluster.path("events", api="v1"), warnings),
    )
    cause = causes.explain(obj, around)
    if cause is None:
        print(f"{type(obj).__name__} {obj.metadata.name} is {obj.status.phase}: nothing is wrong")
        return FINE
    print("\n".join(causes.lines(cause)))
    return WRONG
