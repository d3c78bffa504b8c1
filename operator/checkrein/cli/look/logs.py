"""`checkrein logs`: what the pods of an object say, without knowing their names."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Sequence
from typing import Any

from checkrein.api.names import COMPONENT, OWNER_UID
from checkrein.cli import kube, objects
from checkrein.cli.errors import Refusal
from checkrein.cli.kube import Kube

Raw = dict[str, Any]
REPLICAS = "agent"


def add_parser(commands: Any) -> None:
    """`logs`."""
    parser = commands.add_parser(
        "logs",
        help="of the pods that probe, train, evaluate or decide for an object",
        description="Of a training job or an environment the newest pod speaks, of an agent every replica.",
    )
    parser.add_argument("object", metavar="[KIND/]NAME", help="for example tj/cartpole-a or agent/cartpole")
    parser.add_argument("-f", "--follow", action="store_true", help="go on as more is said")
    parser.add_argument("-p", "--previous", action="store_true", help="of the container before the last restart")
    parser.add_argument("--tail", type=int, metavar="LINES", help="only the last ones")
    parser.add_argument("--all", action="store_true", help="of every pod that is still there, the oldest first")
    kube.add_arguments(parser)
    parser.set_defaults(run=lambda options: _run(kube.connect(options), options))


def _run(cluster: Kube, options: argparse.Namespace) -> int:
    obj = objects.find(cluster, options.object)
    selector = {"labelSelector": f"{OWNER_UID}={obj.metadata.uid}"}
    found = cluster.items(cluster.path("pods", api="v1"), selector)
    pods = chosen(found, every=options.all)
    if not pods:
        raise Refusal(f"{options.object} has no pod now; `checkrein explain {options.object}` says how it stands")
    query = {key: "true" for key in ("follow", "previous") if getattr(options, key)}
    query |= {"tailLines": str(options.tail)} if options.tail is not None else {}
    names = [pod["metadata"]["name"] for pod in pods]
    if len(names) == 1 or not options.follow:
        for name in names:
            _print(cluster, name, query, prefix=len(names) > 1)
        return 0
    threads = [threading.Thread(target=_print, args=(cluster, n, query), kwargs={"prefix": True}) for n in names]
    for thread in threads:
        thread.daemon = True  # an interrupt ends all of them
        thread.start()
    for thread in threads:
        thread.join()
    return 0


def chosen(pods: Sequence[Raw], *, every: bool) -> list[Raw]:
    """Whose logs are meant: all replicas of an agent, of others the newest pod; the oldest first."""
    ordered = sorted(pods, key=lambda p: (p["metadata"].get("creationTimestamp", ""), p["metadata"]["name"]))
    if every or any(pod["metadata"]["labels"].get(COMPONENT) == REPLICAS for pod in ordered):
        return ordered
    return ordered[-1:]


def _print(cluster: Kube, pod: str, query: dict[str, str], *, prefix: bool) -> None:
    for line in cluster.lines(f"{cluster.path('pods', pod, api='v1')}/log", query):
        print(f"[{pod}] {line}" if prefix else line, flush=True)
