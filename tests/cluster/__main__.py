"""`python -m tests.cluster up|down|status|load|images|kubectl|forget [--name NAME]`: a local cluster by hand."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Mapping

from tests.cluster import binaries, images, kind, node
from tests.cluster.cache import folder
from tests.cluster.cluster import Cluster, external
from tests.cluster.processes import State, sweep
from tests.cluster.steps import ClusterError, say


def main() -> int:
    """The command line. Failures are sentences on standard error, with exit code 1."""
    options, rest = _parser().parse_known_args()
    if rest and options.command != "kubectl":
        _parser().error(f"unknown arguments: {' '.join(rest)}")
    try:
        sweep()
        return COMMANDS[options.command](options.name, rest)
    except ClusterError as error:
        say(str(error))
        return 1


def _up(name: str, rest: list[str]) -> int:
    cluster = external()
    if cluster is None:
        cluster = (kind if kind.chosen() else node).up(name)
    else:
        cluster.load(images.build())
    say("the cluster is up; talk to it like this:")
    print(f"export KUBECONFIG={cluster.kubeconfig}")
    return 0


def _down(name: str, rest: list[str]) -> int:
    (kind if kind.chosen() else node).down(name)
    return 0


def _status(name: str, rest: list[str]) -> int:
    states = [state for state in State.all() if state.path.name.startswith("node-")]
    for state in states:
        found = state.path.name.removeprefix("node-")
        print(f"{found}: {'up' if node.running(found) else 'not answering'}, {state.path}")
    if not states:
        print("no node runs")
    return 0


def _load(name: str, rest: list[str]) -> int:
    cluster = _existing(name)
    cluster.load(images.build())
    return _print_images(cluster.images)


def _images(name: str, rest: list[str]) -> int:
    return _print_images(images.build())


def _kubectl(name: str, rest: list[str]) -> int:
    kube = str(binaries.kube())
    os.execv(kube, [kube, "kubectl", "--kubeconfig", str(_existing(name).kubeconfig), *rest])


def _forget(name: str, rest: list[str]) -> int:
    if State.all():
        raise ClusterError(f"Something still uses the cache: {', '.join(state.path.name for state in State.all())}.")
    shutil.rmtree(folder())
    return 0


def _existing(name: str) -> Cluster:
    cluster = external() or node.running(name)
    if cluster is None:
        raise ClusterError(f"Node {name} is not up: run `make cluster-up NAME={name}`.")
    return cluster


def _print_images(references: Mapping[str, str]) -> int:
    for name, reference in references.items():
        print(f"{name} {reference}")
    return 0


COMMANDS = {
    "up": _up,
    "down": _down,
    "status": _status,
    "load": _load,
    "images": _images,
    "kubectl": _kubectl,
    "forget": _forget,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("--name", default="dev", help="which node (default: dev); several may run side by side")
    parser.add_argument("command", choices=COMMANDS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
